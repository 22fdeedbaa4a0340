//! The files of the default disk: of every size that a filesystem could stumble over, and still worth opening.

use std::fmt::Write as _;

use super::BIG_FILE;
use super::volume::Folder;

const README: &str = "\
This disk was made by `cargo xtask run` to try things on. Change it as you like: it is made anew when you delete
its image.

letters/       ten years of letters in folders by year: text files with long names
measurements/  tables (CSV) of eight weather stations
pictures/      views into the Mandelbrot set (BMP)
music/         chords (WAV)
sizes/         files of awkward sizes: around blocks, clusters and powers of two, and empty
names/         awkward names
deep/          folders in folders
many/          a folder that is longer than a cluster
big16m.bin     exactly 16 MiB of noise
";

/// The root folder of the default disk. The same files every time: what is random comes from fixed seeds.
pub(super) fn folder() -> Folder {
    let mut root = Folder::default();
    root.file("readme.txt", README.into());
    root.folder("letters", letters());
    root.folder("measurements", measurements());
    root.folder("pictures", pictures());
    root.folder("music", music());
    root.folder("sizes", sizes());
    root.folder("names", names());
    root.folder("deep", deep(1));
    root.folder("many", many());
    root.file(BIG_FILE, Random::new(16).noise(16 << 20));
    root
}

fn letters() -> Folder {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const PEOPLE: [&str; 7] = ["Ada", "Barbara", "Edsger", "Grace", "Jochen", "Per", "Tony"];
    let mut letters = Folder::default();
    for year in 2015..2025_u64 {
        let mut folder = Folder::default();
        for (number, month) in MONTHS.iter().enumerate() {
            let mut random = Random::new(year * 100 + number as u64);
            let person = PEOPLE[random.below(PEOPLE.len())];
            let length = 200 + random.below(12_000);
            let mut text = format!("{month} {year}\n\nDear {person},\n\n");
            text.push_str(&random.prose(length));
            text.push_str("\nYours,\nthe ship's carpenter\n");
            let name = format!("{:02} Letter to {person}, {month} {year}.txt", number + 1);
            folder.file(&name, text.into_bytes());
        }
        letters.folder(&year.to_string(), folder);
    }
    letters
}

fn measurements() -> Folder {
    let mut measurements = Folder::default();
    for station in 1..=8_u64 {
        let mut folder = Folder::default();
        for month in 1..=12_u64 {
            let mut random = Random::new(7_000 + station * 100 + month);
            let mut table = String::from("day,hour,temperature_mC,pressure_Pa\n");
            let mut temperature = 4_000 + 1_500 * (6 - (month as i64 - 7).abs());
            let mut pressure = 101_325_i64;
            for day in 1..=28 {
                for hour in 0..24 {
                    temperature += random.below(801) as i64 - 400;
                    pressure += random.below(41) as i64 - 20;
                    // Writing to a string cannot fail.
                    let _ = writeln!(table, "{day},{hour},{temperature},{pressure}");
                }
            }
            folder.file(&format!("2024-{month:02}.csv"), table.into_bytes());
        }
        measurements.folder(&format!("station-{station}"), folder);
    }
    measurements
}

fn pictures() -> Folder {
    let mut folder = Folder::default();
    for zoom in 0..10_u32 {
        let (width, height) = (320 + 16 * zoom, 200 + 10 * zoom);
        let picture = mandelbrot(width, height, zoom);
        folder.file(&format!("Mandelbrot set, magnified {} times.bmp", 1_u64 << zoom), picture);
    }
    folder
}

/// A BMP file with a view of the Mandelbrot set, computed in integers so that every host draws the same.
fn mandelbrot(width: u32, height: u32, zoom: u32) -> Vec<u8> {
    const HEADER: u32 = 54;
    const ONE: i64 = 1 << 28;
    const ITERATIONS: u32 = 60;
    // Rows of three bytes a pixel are filled up to four; a width that is a multiple of four needs no filling.
    let pixels = width * height * 3;
    let mut file = Vec::with_capacity((HEADER + pixels) as usize);
    file.extend(*b"BM");
    for word in [HEADER + pixels, 0, HEADER, 40, width, height, 1 | 24 << 16, 0, pixels, 2835, 2835, 0, 0] {
        file.extend(word.to_le_bytes());
    }
    let step = (3 * ONE / i64::from(width)) >> zoom;
    let (center_x, center_y) = (-ONE * 7_453 / 10_000, ONE * 1_127 / 10_000);
    for row in 0..height {
        for column in 0..width {
            let cx = center_x + step * (i64::from(column) - i64::from(width / 2));
            let cy = center_y + step * (i64::from(row) - i64::from(height / 2));
            let (mut x, mut y, mut count) = (0_i64, 0_i64, 0);
            while count < ITERATIONS {
                let (xx, yy) = (x * x / ONE, y * y / ONE);
                if xx + yy > 4 * ONE {
                    break;
                }
                y = 2 * x * y / ONE + cy;
                x = xx - yy + cx;
                count += 1;
            }
            let shade = (count * 255 / ITERATIONS) as u8;
            file.extend([shade, shade / 2 + shade / 4, 255 - shade]);
        }
    }
    file
}

fn music() -> Folder {
    const RATE: u32 = 8_000;
    const CHORDS: [(&str, [u32; 3]); 6] = [
        ("C major", [262, 330, 392]),
        ("D minor", [294, 349, 440]),
        ("E minor", [330, 392, 494]),
        ("F major", [349, 440, 523]),
        ("G major", [392, 494, 587]),
        ("A minor", [440, 523, 659]),
    ];
    let mut folder = Folder::default();
    for (number, (chord, pitches)) in CHORDS.iter().enumerate() {
        let samples = RATE * (10 + 3 * number as u32);
        let mut file = Vec::with_capacity(44 + samples as usize);
        file.extend(*b"RIFF");
        file.extend((36 + samples).to_le_bytes());
        file.extend(*b"WAVEfmt ");
        for word in [16, 1 | 1 << 16, RATE, RATE, 1 | 8 << 16] {
            file.extend(u32::to_le_bytes(word));
        }
        file.extend(*b"data");
        file.extend(samples.to_le_bytes());
        for sample in 0..samples {
            // Triangle waves: made of integers, and gentler than squares.
            let level: u32 = pitches.iter().map(|pitch| (sample * pitch % RATE * 2).abs_diff(RATE) * 80 / RATE).sum();
            file.push(level as u8);
        }
        folder.file(&format!("{chord}.wav"), file);
    }
    folder
}

fn sizes() -> Folder {
    let mut folder = Folder::default();
    let mut sizes = vec![0, 1, 2, 3, 100, 1_000, 10_000, 100_000, 1_000_000, 4_500_000];
    for power in [512, 2_048, 4_096, 8_192, 16_384, 32_768, 65_536, 262_144, 1_048_576] {
        sizes.extend([power - 1, power, power + 1]);
    }
    for size in sizes {
        folder.file(&format!("{size} bytes.bin"), Random::new(size as u64 + 1).noise(size));
    }
    folder
}

fn names() -> Folder {
    let mut folder = Folder::default();
    let longest = "a name that goes on and on ".repeat(6) + "and ends.txt";
    let names = [
        "UPPER.TXT",
        "lower.txt",
        "Mixed.Txt",
        "no extension",
        "two.dots.in.it.txt",
        ".begins with a dot",
        "it's, [quoted]; & more + = #1 @home.txt",
        "Grüße aus Köln.txt",
        "Crème brûlée.txt",
        "Привет.txt",
        "日本語のファイル名.txt",
        "longname1.text",
        "longname2.text",
        longest.as_str(),
    ];
    for name in names {
        folder.file(name, format!("The name of this file is {name}\n").into_bytes());
    }
    folder
}

fn deep(depth: u32) -> Folder {
    let mut folder = Folder::default();
    folder.file(&format!("depth {depth}.txt"), format!("{depth} folders down\n").into_bytes());
    if depth < 12 {
        folder.folder(&format!("down {depth}"), deep(depth + 1));
    }
    folder
}

fn many() -> Folder {
    let mut folder = Folder::default();
    for number in 1..=80_u64 {
        let mut random = Random::new(90_000 + number);
        let length = random.below(3_000);
        folder.file(&format!("one of many, number {number}.txt"), random.prose(length).into_bytes());
    }
    folder
}

/// A small generator (xorshift64*): the disk must not change when some crate's generator does.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        // A state of zero would stay zero.
        Self((seed.wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 32) as usize) % limit
    }

    fn noise(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// Sentences of about `length` characters, in lines of at most 72.
    fn prose(&mut self, length: usize) -> String {
        const WORDS: [&str; 48] = [
            "the",
            "ship",
            "water",
            "held",
            "bulkhead",
            "between",
            "every",
            "compartment",
            "and",
            "sea",
            "night",
            "we",
            "closed",
            "door",
            "behind",
            "pump",
            "ran",
            "again",
            "nobody",
            "noticed",
            "leak",
            "was",
            "found",
            "in",
            "third",
            "hold",
            "where",
            "cargo",
            "lay",
            "dry",
            "as",
            "before",
            "captain",
            "asked",
            "for",
            "a",
            "light",
            "which",
            "went",
            "out",
            "then",
            "came",
            "back",
            "of",
            "its",
            "own",
            "accord",
            "steadily",
        ];
        let mut text = String::with_capacity(length + 80);
        let mut column = 0;
        let mut left_in_sentence = 0;
        while text.len() < length {
            let starts = left_in_sentence == 0;
            if starts {
                left_in_sentence = 5 + self.below(12);
            }
            left_in_sentence -= 1;
            let word = WORDS[self.below(WORDS.len())];
            if column + word.len() + 2 > 72 {
                text.push('\n');
                column = 0;
            } else if column > 0 {
                text.push(' ');
                column += 1;
            }
            let mut characters = word.chars();
            match characters.next() {
                Some(first) if starts => text.push(first.to_ascii_uppercase()),
                Some(first) => text.push(first),
                None => {}
            }
            text.push_str(characters.as_str());
            column += word.len();
            if left_in_sentence == 0 {
                text.push('.');
                column += 1;
            }
        }
        text.push('\n');
        text
    }
}

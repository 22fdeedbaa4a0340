//! The counts beside those of others, as a picture.
//!
//! Bars on a logarithmic scale: what is compared differs by factors, and a count that is half of another is the same distance
//! away from it wherever it stands.

use std::fmt::{self, Write};

use super::group::Group;
use super::row::{Row, Unit};
use super::table::Table;

/// Where bars begin, leaving room for names; and how far they reach.
const LEFT: f64 = 330.0;
const RIGHT: f64 = 880.0;
/// The picture's width: beside the longest bar there is room for its number.
const WIDTH: f64 = 960.0;
/// A bar with the space to the next; its own height; the space between works.
const STEP: f64 = 17.0;
const BAR: f64 = 12.0;
const GAP: f64 = 12.0;
/// Above the first bar.
const TOP: f64 = 56.0;
/// Where the scale begins.
const LEAST: f64 = 10.0;

/// Own bars, others' bars, and the line of what must be reached.
const OWN: &str = "#1f6f8b";
const OTHER: &str = "#b8bcc2";
const LIMIT: &str = "#b3261e";

/// How far to the right a count stands.
fn place(count: f64, most: f64) -> f64 {
    let share = (count.max(LEAST) / LEAST).ln() / (most / LEAST).ln();
    LEFT + share * (RIGHT - LEFT)
}

/// A text as it stands in a document.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The rows that are drawn: counts of instructions that others have, too. In some groups Bulkhead is compared with itself.
fn drawn(tables: &[Table]) -> Vec<&Row> {
    let is_count = |row: &&Row| row.figure.is_some_and(|figure| figure.unit == Unit::Instructions);
    let with_others = tables.iter().filter(|table| !matches!(table.group, Group::Rpc | Group::Block));
    with_others.flat_map(|table| &table.rows).filter(|row| is_count(row) && !row.peers.is_empty()).collect()
}

/// Draws an SVG document.
pub fn draw(tables: &[Table]) -> String {
    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ = document(&mut svg, &drawn(tables));
    svg
}

fn document(svg: &mut String, rows: &[&Row]) -> fmt::Result {
    let bars = rows.iter().map(|row| 1 + row.peers.len()).sum::<usize>();
    let height = TOP + bars as f64 * STEP + rows.len() as f64 * GAP + 8.0;
    let counts = rows.iter().flat_map(|row| {
        row.peers.iter().map(|peer| peer.value).chain(row.figure.map(|figure| figure.value)).chain(row.must)
    });
    let most = 10_f64.powf(counts.fold(LEAST * 10.0, f64::max).log10().ceil());
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">"
    )?;
    writeln!(svg, "<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>")?;
    writeln!(
        svg,
        "<text x=\"8\" y=\"20\" font-size=\"15\">Guest instructions, fewer is better (logarithmic scale); red: what must be \
         reached</text>"
    )?;
    let mut mark = LEAST;
    while mark <= most {
        let x = place(mark, most);
        writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"#e4e6e9\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#6b7178\">{}</text>",
            TOP - 8.0,
            height - 8.0,
            TOP - 14.0,
            Unit::Instructions.written(mark)
        )?;
        mark *= 10.0;
    }
    let mut y = TOP;
    for row in rows {
        let top = y;
        let own = row.figure.map(|figure| figure.value).unwrap_or_default();
        bar(svg, y, &format!("Bulkhead: {}", row.work), own, most, OWN)?;
        y += STEP;
        for peer in &row.peers {
            bar(svg, y, &peer.name, peer.value, most, OTHER)?;
            y += STEP;
        }
        if let Some(must) = row.must {
            let x = place(must, most);
            writeln!(
                svg,
                "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"{LIMIT}\" stroke-width=\"2\"/>",
                top - 2.0,
                top + BAR + 2.0
            )?;
        }
        y += GAP;
    }
    svg.write_str("</svg>\n")
}

fn bar(svg: &mut String, y: f64, name: &str, count: f64, most: f64, colour: &str) -> fmt::Result {
    let (end, base) = (place(count, most), y + BAR - 2.0);
    writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{base:.1}\" text-anchor=\"end\">{}</text>\
         <rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\
         <text x=\"{:.1}\" y=\"{base:.1}\">{}</text>",
        LEFT - 8.0,
        escaped(name),
        end - LEFT,
        end + 5.0,
        Unit::Instructions.written(count)
    )
}

#[cfg(test)]
mod tests {
    use super::super::row::{Figure, Peer};
    use super::*;

    #[test]
    fn each_factor_of_ten_is_the_same_distance() {
        assert_eq!(place(10.0, 10_000.0), LEFT);
        assert_eq!(place(10_000.0, 10_000.0), RIGHT);
        let steps = [10.0, 100.0, 1000.0].map(|count| place(count * 10.0, 10_000.0) - place(count, 10_000.0));
        assert!(steps.iter().all(|step| (step - steps[0]).abs() < 1e-6), "{steps:?}");
        assert_eq!(place(1.0, 10_000.0), LEFT, "nothing stands outside");
    }

    #[test]
    fn what_others_have_too_is_drawn_and_nothing_else() {
        let count = |name: &str| Row::new(name, name, Some(Figure::instructions(283)));
        let rows = vec![
            count("call <6 words>").must(283.0).peer(Peer::published("NOVA", 284)),
            count("alone"),
            Row::new("x", "missing", None).peer(Peer::published("NOVA", 284)),
            Row::new("y", "ratio", Some(Figure::exactly(Unit::Times, 9.0))).peer(Peer::published("NOVA", 8)),
        ];
        let svg = draw(&[Table::new(Group::Ipc, rows)]);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("Bulkhead: call &lt;6 words&gt;") && svg.contains("NOVA") && svg.contains(LIMIT));
        assert!(!svg.contains("alone") && !svg.contains("missing") && !svg.contains("ratio"));
    }
}

//! The driver `{{name}}`, of the device that QEMU has for education.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

driver::registers! {
    struct Registers {
        0x08 => factorial: u32, read write; // Takes a number, and gives its factorial when that is computed.
        0x20 => status: u32, read write; // 1: at work. 0x80: raise the interrupt afterwards.
    }
}

struct Device(Registers, driver::Interrupt, userlib::sync::Mutex<()>);

impl {{crate}}::{{Type}}Server for Device {
    async fn factorial(&self, _: &userlib::ipc::Caller, number: u32) -> u32 {
        let _turn = self.2.lock().await;
        let is_idle = || self.0.status().read() & 1 == 0;
        self.1.until(is_idle).await;
        self.0.status().write(0x80);
        self.0.factorial().write(number);
        self.1.until(is_idle).await;
        self.0.factorial().read()
    }
}

#[driver::driver]
async fn program(pci: driver::PciDevice) -> Result<driver::Running, driver::AttachError> {
    let device = Device(pci.registers(0)?, pci.interrupt(0)?, Default::default());
    pci.enable()?;
    driver::serve({{crate}}::{{Type}}Service::new(device))
}

#[test]
fn a_factorial_is_what_the_device_makes_of_a_number() {
    let registers = driver::double::registers(|at, value| if at == 8 { (1..=value).product() } else { value });
    let device = Device(registers, driver::double::line().0, Default::default());
    assert_eq!({{crate}}::{{Type}}Double::new(device).client().factorial(5), Ok(120));
}

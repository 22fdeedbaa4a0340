mod devices;
mod disk;
mod driver;
mod hostile;
mod transport;

//! What is true of the kernel's tables between any two entries.

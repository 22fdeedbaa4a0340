//! The standard interfaces between Bulkhead's domains.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

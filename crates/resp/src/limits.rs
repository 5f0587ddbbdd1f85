//! How much a request may be.

/// How much a request may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most arguments.
    pub args_max: usize,
    /// The longest argument, in bytes.
    pub bulk_max: usize,
    /// The most bytes of a request.
    pub request_max: usize,
    /// Whether it comes from somebody who has not said who it is: the errors name that.
    pub unauthenticated: bool,
}

impl Limits {
    /// What is taken from somebody unknown: ten arguments of 16 KiB.
    pub fn unauthenticated() -> Limits {
        Limits {
            args_max: 10,
            bulk_max: 16 << 10,
            request_max: 256 << 10,
            unauthenticated: true,
        }
    }
}

impl Default for Limits {
    /// A million arguments of 512 MiB, a GiB together.
    fn default() -> Limits {
        Limits {
            args_max: 1 << 20,
            bulk_max: 512 << 20,
            request_max: 1 << 30,
            unauthenticated: false,
        }
    }
}

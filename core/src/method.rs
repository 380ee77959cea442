//! The method of a request.

/// A method, as far as decisions depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// Another one that changes nothing (RFC 9110, section 9.2.1).
    Safe,
    /// Any other: it may change what it is for.
    Other,
}

//! The coding of a body, and which clients accept it (RFC 9110, sections 8.4 and 12.5.3).
//!
//! ```text
//! Accept-Encoding = [ member *( "," member ) ]
//! member          = ( coding / "identity" / "*" ) [ ";" "q=" weight ]
//! ```

/// The content coding of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Coding<'a> {
    /// None.
    Identity,
    /// gzip alone, which nginx can decompress.
    Gzip,
    /// With these codings, in the order in which they were applied.
    Others(Vec<&'a [u8]>),
}

impl<'a> Coding<'a> {
    /// Reads the fields of Content-Encoding. nginx reads the value of one field as one coding.
    pub fn of(mut fields: impl Iterator<Item = &'a [u8]>) -> Coding<'a> {
        let Some(first) = fields.next() else { return Coding::Identity };
        let mut rest = fields.peekable();
        if first.eq_ignore_ascii_case(b"gzip") && rest.peek().is_none() {
            return Coding::Gzip;
        }
        let named = std::iter::once(first).chain(rest).flat_map(members);
        let codings: Vec<&[u8]> =
            named.filter(|coding| !coding.eq_ignore_ascii_case(b"identity")).collect();
        if codings.is_empty() { Coding::Identity } else { Coding::Others(codings) }
    }

    /// Whether gzip was applied last.
    pub fn ends_in_gzip(&self) -> bool {
        match self {
            Coding::Identity => false,
            Coding::Gzip => true,
            Coding::Others(codings) => codings.last().is_some_and(|last| same(last, b"gzip")),
        }
    }

    /// Whether a client with these fields of Accept-Encoding accepts the body. A client without such a field
    /// accepts no coding: RFC 9110 would allow all of them, but such a client most often supports none.
    pub fn is_accepted_by<'b>(&self, accepted: impl Iterator<Item = &'b [u8]> + Clone) -> bool {
        let is_accepted = |coding: &[u8]| accepts(accepted.clone(), coding);
        match self {
            Coding::Identity => true,
            Coding::Gzip => is_accepted(b"gzip"),
            Coding::Others(codings) => codings.iter().all(|coding| is_accepted(coding)),
        }
    }
}

/// The weights of a coding's own members count; if it has none, those of `*` do.
fn accepts<'a>(accepted: impl Iterator<Item = &'a [u8]>, coding: &[u8]) -> bool {
    let (mut named, mut others) = (None, None);
    for member in accepted.flat_map(members) {
        let (name, weight) = match memchr::memchr(b';', member) {
            Some(end) => member.split_at(end),
            None => (member, &b""[..]),
        };
        let place = match name.trim_ascii() {
            b"*" => &mut others,
            name if same(name, coding) => &mut named,
            _ => continue,
        };
        // if the members contradict each other, the refusal wins
        *place = Some(place.unwrap_or(true) && is_accepted(weight));
    }
    named.or(others).unwrap_or(false)
}

/// Whether the text after a coding is empty or a weight above 0. Invalid text refuses the coding.
///
/// ```text
/// weight = OWS ";" OWS "q=" ( "0" [ "." 0*3DIGIT ] / "1" [ "." 0*3"0" ] )
/// ```
fn is_accepted(weight: &[u8]) -> bool {
    let Some(weight) = weight.strip_prefix(b";") else { return true };
    let [b'q' | b'Q', b'=', digits @ ..] = weight.trim_ascii() else { return false };
    let (whole, part) = match digits {
        [whole, b'.', part @ ..] if part.len() <= 3 => (whole, part),
        [whole] => (whole, &[][..]),
        _ => return false,
    };
    match whole {
        b'0' => part.iter().all(u8::is_ascii_digit) && part.iter().any(|&digit| digit != b'0'),
        b'1' => part.iter().all(|&digit| digit == b'0'),
        _ => false,
    }
}

/// The members of a list, between commas.
fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// Compares names of codings without case; x-gzip is gzip (RFC 9110, section 8.4.1).
fn same(one: &[u8], other: &[u8]) -> bool {
    fn bare(name: &[u8]) -> &[u8] {
        match name.split_at_checked(2) {
            Some((x, name)) if x.eq_ignore_ascii_case(b"x-") => name,
            _ => name,
        }
    }
    bare(one).eq_ignore_ascii_case(bare(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coding<'a>(fields: &[&'a str]) -> Coding<'a> {
        Coding::of(fields.iter().map(|field| field.as_bytes()))
    }

    fn taken(codings: &[&str], accepted: &[&str]) -> bool {
        coding(codings).is_accepted_by(accepted.iter().map(|field| field.as_bytes()))
    }

    #[test]
    fn codings_of_a_body() {
        assert_eq!(coding(&[]), Coding::Identity);
        assert_eq!(coding(&["identity"]), Coding::Identity);
        assert_eq!(coding(&["", " , "]), Coding::Identity);
        assert_eq!(coding(&["GZIP"]), Coding::Gzip);
        assert_eq!(coding(&["br"]), Coding::Others(vec![b"br"]));
        let both = Coding::Others(vec![b"br", b"gzip"]);
        assert_eq!(coding(&["br, gzip"]), both);
        assert_eq!(coding(&["br", "gzip"]), both);
        // nginx does not decompress these
        assert_eq!(coding(&["x-gzip"]), Coding::Others(vec![b"x-gzip"]));
        assert_eq!(coding(&["identity", "gzip"]), Coding::Others(vec![b"gzip"]));
        assert_eq!(coding(&["gzip", "gzip"]), Coding::Others(vec![b"gzip", b"gzip"]));
    }

    #[test]
    fn the_last_coding_is_the_outer_one() {
        assert!(coding(&["br", "x-gzip"]).ends_in_gzip());
        assert!(!coding(&["gzip", "br"]).ends_in_gzip());
        assert!(!coding(&[]).ends_in_gzip());
    }

    #[test]
    fn identity_is_always_accepted() {
        for accepted in [&[][..], &["identity;q=0"], &["*;q=0"], &["gzip"]] {
            assert!(taken(&[], accepted), "{accepted:?}");
        }
    }

    #[test]
    fn weights_of_a_coding() {
        for accepted in
            ["br", "gzip, BR", "br;q=1", "br;q=1.000", "br ; Q=0.001", "br;q=0.5", "*", "*;q=0.1"]
        {
            assert!(taken(&["br"], &[accepted]), "{accepted}");
        }
        for accepted in [
            "",
            "gzip",
            "br;q=0",
            "br;q=0.",
            "br;q=0.000",
            "*;q=0",
            "br;q=0, *",
            "br, br;q=0",
            "xbr",
            "brx",
            "b r",
        ] {
            assert!(!taken(&["br"], &[accepted]), "{accepted}");
        }
        // invalid weights
        for accepted in
            ["br;q", "br;q=", "br;q=2", "br;q=1.001", "br;q=0.0001", "br;q=-1", "br;x=1"]
        {
            assert!(!taken(&["br"], &[accepted]), "{accepted}");
        }
    }

    #[test]
    fn fields_are_one_list() {
        assert!(taken(&["br"], &["gzip", "br"]));
        assert!(!taken(&["br"], &["br", "br;q=0"]));
        assert!(!taken(&["br"], &[]));
    }

    #[test]
    fn each_of_several_codings_must_be_accepted() {
        assert!(taken(&["br", "gzip"], &["gzip, br"]));
        assert!(!taken(&["br", "gzip"], &["gzip"]));
        assert!(!taken(&["br", "gzip"], &["br"]));
    }

    #[test]
    fn x_gzip_is_gzip() {
        assert!(taken(&["x-gzip"], &["gzip"]));
        assert!(taken(&["gzip"], &["x-gzip"]));
        assert!(!taken(&["x-gzip"], &["br"]));
    }
}

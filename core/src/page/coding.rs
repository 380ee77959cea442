//! How a body is encoded, and which clients take that (RFC 9110, sections 8.4 and 12.5.3).
//!
//! ```text
//! Accept-Encoding = [ member *( "," member ) ]
//! member          = ( coding / "identity" / "*" ) [ ";" "q=" weight ]
//! ```

/// How a body is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Coding<'a> {
    /// Not at all.
    Identity,
    /// With gzip alone, which nginx can undo.
    Gzip,
    /// With these codings, in the order in which they were applied.
    Others(Vec<&'a [u8]>),
}

impl<'a> Coding<'a> {
    /// As the fields of Content-Encoding say. nginx reads the value of one field as one coding.
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

    /// Whether the coding that was applied last is gzip.
    pub fn ends_in_gzip(&self) -> bool {
        match self {
            Coding::Identity => false,
            Coding::Gzip => true,
            Coding::Others(codings) => codings.last().is_some_and(|last| same(last, b"gzip")),
        }
    }

    /// Whether a client with these fields of Accept-Encoding takes the body. A client without any takes
    /// no coding: RFC 9110 would allow all of them, but such a client most often knows none.
    pub fn is_accepted_by<'b>(&self, accepted: impl Iterator<Item = &'b [u8]> + Clone) -> bool {
        let is_accepted = |coding: &[u8]| accepts(accepted.clone(), coding);
        match self {
            Coding::Identity => true,
            Coding::Gzip => is_accepted(b"gzip"),
            Coding::Others(codings) => codings.iter().all(|coding| is_accepted(coding)),
        }
    }
}

/// A coding that is named counts by its own weights, any other by those of `*`.
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
        // of contradictions the refusal counts
        *place = Some(place.unwrap_or(true) && is_accepted(weight));
    }
    named.or(others).unwrap_or(false)
}

/// Whether what stands behind a coding is no weight, or one above 0. What is no weight refuses.
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

/// Of a list between commas.
fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// Names are compared without case, and x-gzip is gzip (RFC 9110, section 8.4.1).
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
        // nginx would not unpack these
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
    fn identity_is_always_taken() {
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
        // what is no weight
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
    fn each_of_several_codings_must_be_taken() {
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

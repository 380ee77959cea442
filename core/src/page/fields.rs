//! The header fields of a message.

use super::cache_control::trim;

/// Header fields, in their order: names and values.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fields<'a>(pub &'a [(&'a [u8], &'a [u8])]);

impl<'a> Fields<'a> {
    /// The values of the fields of one name.
    pub fn values(self, name: &str) -> impl Iterator<Item = &'a [u8]> + Clone {
        let fields = self.0.iter();
        fields.filter(move |(other, _)| other.eq_ignore_ascii_case(name.as_bytes())).map(|it| it.1)
    }

    /// Whether there is a field of this name.
    pub fn has(self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// The media types of the fields of Content-Type, without parameters.
    pub fn media_types(self) -> impl Iterator<Item = &'a [u8]> {
        let types =
            self.values("content-type").map(|value| value.split(|&byte| byte == b';').next());
        types.map(|media_type| trim(media_type.unwrap_or_default()))
    }

    /// The date in the only field of this name, in seconds since the epoch. None if there is no such field, if
    /// there are several, or if it is no date.
    pub fn date(self, name: &str) -> Option<u64> {
        let mut values = self.values(name);
        let value = values.next()?;
        if values.next().is_some() { None } else { date(value) }
    }

    /// The earliest of the dates in the fields of this name.
    pub fn earliest_date(self, name: &str) -> Option<u64> {
        self.values(name).filter_map(date).min()
    }
}

/// A date of HTTP, in seconds since the epoch (RFC 9110, section 5.6.7). A cache reads it without regard to case (RFC
/// 9111, section 4.2).
fn date(value: &[u8]) -> Option<u64> {
    let mut is_first = true;
    let text = std::str::from_utf8(trim(value)).ok()?;
    let cased = text.chars().map(|letter| {
        let cased =
            if is_first { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
        is_first = !letter.is_ascii_alphabetic();
        cased
    });
    let date = httpdate::parse_http_date(&cased.collect::<String>().replace("Gmt", "GMT")).ok()?;
    date.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let read = |values: &[&'static str]| {
            let fields: Vec<_> = values.iter().map(|it| (&b"DATE"[..], it.as_bytes())).collect();
            Fields(&fields).date("Date")
        };
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "\tsUN, 06 NOV 1994 08:49:37 gmt ",
        ] {
            assert_eq!(read(&[date]), Some(784_111_777), "{date}");
        }
        for other in [
            "",
            "0",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 18 Aug 1950 02:01:18 GMT",
            "\u{e9}",
        ] {
            assert_eq!(read(&[other]), None, "{other}");
        }
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(read(&[date, date]), None);
        assert_eq!(read(&[]), None);
        let dates = [
            (&b"Date"[..], &b"Sun, 06 Nov 1994 08:49:38 GMT"[..]),
            (b"date", date.as_bytes()),
            (b"Date", b"0"),
        ];
        assert_eq!(Fields(&dates).earliest_date("Date"), Some(784_111_777));
    }
}

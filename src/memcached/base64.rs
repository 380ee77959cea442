//! Base64 as memcached writes keys: RFC 4648, with padding.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Whether `text` is `bytes` in base64.
pub fn is_base64_of(text: &[u8], bytes: &[u8]) -> bool {
    text.iter().copied().eq(bytes.chunks(3).flat_map(four_digits))
}

fn four_digits(chunk: &[u8]) -> [u8; 4] {
    let byte = |nth| u32::from(chunk.get(nth).copied().unwrap_or(0));
    let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
    let digit = |nth: usize| {
        let place = (bits >> (18 - 6 * nth)) as usize % DIGITS.len();
        if nth > chunk.len() { b'=' } else { DIGITS.get(place).copied().unwrap_or(b'=') }
    };
    [digit(0), digit(1), digit(2), digit(3)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert!(is_base64_of(text.as_bytes(), bytes.as_bytes()), "{bytes}");
        }
    }

    #[test]
    fn each_digit_has_its_place() {
        assert!(is_base64_of(b"+/+/", b"\xfb\xff\xbf"));
        let all: Vec<u8> = (0..=255).collect();
        let text: Vec<u8> = all.chunks(3).flat_map(four_digits).collect();
        assert!(text.starts_with(b"AAECAwQF") && text.ends_with(b"/P3+/w=="));
    }

    #[test]
    fn no_other_text_is_taken() {
        for text in ["", "Zm9", "Zm9v=", "Zm9w", "zm9v", "Zm9vZm9v", "foo", "Zm9vAA=="] {
            assert!(!is_base64_of(text.as_bytes(), b"foo"), "{text}");
        }
        for text in ["Zg", "Zg=", "Zh==", "ZgAA"] {
            assert!(!is_base64_of(text.as_bytes(), b"f"), "{text}");
        }
    }
}

//! Tokens: names of fields, of directives and of others (RFC 9110, section 5.6.2).

/// Whether the bytes are one token.
pub fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && token_len(name) == name.len()
}

/// The bytes at the beginning that may be in a token.
pub fn token_len(bytes: &[u8]) -> usize {
    let is_tchar = |&byte: &u8| TCHARS.get(usize::from(byte)).is_some_and(|&is_tchar| is_tchar);
    bytes.iter().position(|byte| !is_tchar(byte)).unwrap_or(bytes.len())
}

/// Whether a byte may be in a token. Heads of stored pages have many names.
#[allow(clippy::indexing_slicing)] // evaluated by the compiler
static TCHARS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut others: &[u8] = b"!#$%&'*+-.^_`|~";
    while let Some((first, rest)) = others.split_first() {
        table[*first as usize] = true;
        others = rest;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        assert!(is_token(b"!#$%&'*+-.^_`|~azAZ09"));
        for other in b"()<>@,;:\\\"/[]?={} \t\x7f\x80" {
            assert!(!is_token(&[b'a', *other]), "{other}");
        }
        assert!(!is_token(b""));
    }
}

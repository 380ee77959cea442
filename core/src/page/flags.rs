//! Which item flags mark a page.
//!
//! A memcached client notes in an item's flags how the value is encoded. A page is raw bytes or text: a pickled,
//! marshalled or compressed value must not reach a browser, even if it looks like a page. Django's SafeString,
//! which every template render returns, is such a pickle.

/// The flags of raw bytes with every client (0), and of text with the Python clients (16).
pub const DEFAULT_FLAGS: [u32; 2] = [0, 16];

/// The item flags that mark a page: `pagecache_flags`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageFlags {
    /// Every item is a page.
    Any,
    /// Items with exactly one of these flags are pages.
    OneOf(Vec<u32>),
}

impl PageFlags {
    /// Whether an item with `flags` is a page.
    ///
    /// ```
    /// use pagecache_core::page::PageFlags;
    ///
    /// assert!(PageFlags::default().allow(0));
    /// assert!(!PageFlags::default().allow(1));
    /// ```
    pub fn allow(&self, flags: u32) -> bool {
        match self {
            PageFlags::Any => true,
            PageFlags::OneOf(allowed) => allowed.contains(&flags),
        }
    }
}

impl Default for PageFlags {
    fn default() -> Self {
        PageFlags::OneOf(DEFAULT_FLAGS.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_values_of_clients_are_not_pages_by_default() {
        let table = include_str!("../../../tests/data/interop/memcached_flags_by_client.tsv");
        let mut pages = Vec::new();
        for line in table.lines().skip(1) {
            let [client, value, flags, wire] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            for flags in flags.split('/') {
                // the bit of a compressed value may be set with those of any value; PHP's own flags (n<<16) belong
                // to the application
                let marks = match flags.strip_prefix('+').map(str::parse::<u32>) {
                    None => vec![flags.parse().unwrap()],
                    Some(Ok(bit)) => DEFAULT_FLAGS.map(|flags| flags | bit).to_vec(),
                    Some(Err(_)) => continue,
                };
                for flags in marks.into_iter().filter(|flags| PageFlags::default().allow(*flags)) {
                    assert!(wire == "raw" || wire == "utf-8", "{client}: {flags} for {value}");
                    pages.push(client);
                }
            }
        }
        // the flags of bytes for each client, and those of text for the Python ones
        assert_eq!(pages.len(), 10, "{pages:?}");
    }
}

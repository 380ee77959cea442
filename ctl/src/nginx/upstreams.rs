//! The memcached servers of an `upstream {}` block, as the module honours them.

use super::file::Directive;
use super::lookups::protocol;
use crate::cluster::Server;
use crate::exit::Stop;
use pagecache_core::distribution::Rule;
use pagecache_core::memcached::Protocol;

/// An `upstream {}` block.
#[derive(Debug)]
pub struct Upstream {
    pub servers: Vec<Server>,
    pub rule: Option<Rule>,
    /// None without `pagecache_protocol`.
    pub protocol: Option<Protocol>,
}

/// The block of this name. None if the configuration has no such block: then the name is an address.
///
/// # Errors
/// The module refuses the block.
pub fn upstream(configuration: &[Directive], name: &str) -> Result<Option<Upstream>, Stop> {
    let blocks = configuration.iter().filter(|directive| directive.name == "http");
    let mut blocks = blocks.flat_map(|http| &http.block);
    // as in nginx, names of upstreams are compared as host names are
    let is_it = |block: &&Directive| {
        let named = block.arguments.first().is_some_and(|own| own.eq_ignore_ascii_case(name));
        block.name == "upstream" && named
    };
    blocks.find(is_it).map(read).transpose()
}

fn read(block: &Directive) -> Result<Upstream, Stop> {
    let mut upstream = Upstream { servers: Vec::new(), rule: None, protocol: None };
    for directive in &block.block {
        let refused = |reason: String| Stop::Refused(format!("{}: {reason}", directive.place));
        match (directive.name.as_str(), directive.arguments.as_slice()) {
            ("server", [name, parameters @ ..]) => {
                upstream.servers.push(server(name, parameters).map_err(refused)?);
            }
            ("pagecache_distribution", [name, options @ ..]) => {
                let hash = options.iter().find_map(|option| option.strip_prefix("hash="));
                let rule = Rule::parse(name, hash).map_err(|error| refused(error.to_string()))?;
                upstream.rule = Some(rule);
            }
            ("pagecache_protocol", [word, ..]) => upstream.protocol = protocol(word),
            _ => {}
        }
    }
    Ok(upstream)
}

fn server(name: &str, parameters: &[String]) -> Result<Server, String> {
    let mut server = Server { name: name.to_owned(), weight: 1, is_down: false };
    for parameter in parameters {
        match (parameter.as_str(), parameter.strip_prefix("weight=")) {
            (_, Some(weight)) => server.weight = weight_of(weight)?,
            ("down", _) => server.is_down = true,
            (option @ ("backup" | "resolve"), _) => {
                return Err(format!(
                    "server \"{name}\" is marked as \"{option}\", which the module does not support; \
                     remove it"
                ));
            }
            _ => {}
        }
    }
    Ok(server)
}

/// Parses the weight of a server, `1..`.
pub fn weight_of(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(weight) if weight > 0 => Ok(weight),
        _ => Err(format!("invalid value \"weight={text}\": a number from 1 is expected")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nginx;

    fn found(text: &str, name: &str) -> Result<Option<Upstream>, Stop> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, text).unwrap();
        upstream(&nginx::read(&file).unwrap(), name)
    }

    #[test]
    fn servers_with_their_parameters() {
        let text = "http { upstream other { server x; }
            upstream Pages { server a:1 weight=3 max_fails=2; server unix:/b down; keepalive 4;
                             pagecache_distribution ketama hash=md5; } }";
        let pages = found(text, "pages").unwrap().unwrap();
        let server =
            |name: &str, weight, is_down| Server { name: name.to_owned(), weight, is_down };
        assert_eq!(pages.servers, [server("a:1", 3, false), server("unix:/b", 1, true)]);
        assert!(pages.rule.is_some());
        assert!(found(text, "none").unwrap().is_none());
    }

    #[test]
    fn what_the_module_refuses() {
        let reason = |text: &str| {
            let text = format!("http {{ upstream p {{ {text} }} }}");
            found(&text, "p").unwrap_err().to_string()
        };
        assert!(reason("server a backup;").contains("\"backup\""));
        assert!(reason("server a weight=0;").contains("a number from 1"));
        assert!(
            reason("server a; pagecache_distribution round_robin;").contains("one of rendezvous")
        );
    }
}

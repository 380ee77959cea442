//! Owns the nginx that fills a site's memcached like sites with srcache: Debian's own, with srcache and memc from
//! Debian's packages.

use std::net::SocketAddr;
use std::thread;

use tempfile::TempDir;

use crate::http::{Client, Request, Response};
use crate::nginx::Nginx;
use crate::prefix::{prefix, print_tail};
use crate::{Site, directives, parts, ports};

pub struct Srcache {
    nginx: Nginx,
    prefix: TempDir,
}

impl Srcache {
    /// Stores the answers of the content handler in `location` under `$uri`, in the site's memcached.
    #[track_caller]
    pub fn beside(site: &Site, location: &str) -> Srcache {
        let prefix = prefix();
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()));
        let configuration = format!(
            "load_module {srcache};
             load_module {memc};
             {foreground}
             error_log {prefix}/error.log info;
             events {{ }}
             http {{
                 access_log off;
                 # The store subrequest's body is the page.
                 client_max_body_size  16m;
                 types {{ text/html html; }}
                 {temp_paths}
                 server {{
                     listen {address};
                     location / {{
                         srcache_store PUT /store $uri;
                         {location}
                     }}
                     location = /store {{
                         internal;
                         set $memc_key $query_string;
                         memc_pass {memcached};
                     }}
                     location = /stored {{ return 204; }}
                 }}
             }}",
            srcache = parts::debian_module("ngx_http_srcache_filter_module.so").display(),
            memc = parts::debian_module("ngx_http_memc_module.so").display(),
            prefix = prefix.path().display(),
            foreground = directives::foreground(prefix.path().display()),
            temp_paths = directives::temp_paths(prefix.path().display()),
            memcached = site.memcached().address(),
        );
        let program = parts::debian_nginx();
        let nginx = Nginx::start_program(&program, prefix.path(), &configuration, address);
        Srcache { nginx, prefix }
    }

    /// Returns its answer, once srcache has stored it or has decided not to.
    #[track_caller]
    pub fn ask(&self, request: &Request) -> Response {
        let mut client = Client::connect(self.nginx.address());
        let answer = client.ask(request);
        // nginx handles the next request of the connection only when this one is complete; srcache stores in one of
        // its subrequests.
        assert_eq!(client.get("/stored").status, 204);
        answer
    }

    #[track_caller]
    pub fn get(&self, target: impl AsRef<[u8]>) -> Response {
        self.ask(&Request::get(target))
    }
}

impl Drop for Srcache {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("srcache's nginx:");
            print_tail(&self.prefix.path().join("error.log"));
        }
    }
}

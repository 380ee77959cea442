//! Owns the temporary folder of a test, in which all its parts run.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// The parameters of Debian's `uwsgi_params` that the application reads.
const UWSGI_PARAMS: &str = "
    uwsgi_param QUERY_STRING    $query_string;
    uwsgi_param REQUEST_METHOD  $request_method;
    uwsgi_param CONTENT_TYPE    $content_type;
    uwsgi_param CONTENT_LENGTH  $content_length;
    uwsgi_param REQUEST_URI     $request_uri;
    uwsgi_param PATH_INFO       $document_uri;
    uwsgi_param SERVER_PROTOCOL $server_protocol;
    uwsgi_param SERVER_NAME     $server_name;
    uwsgi_param SERVER_PORT     $server_port;
    uwsgi_param HTTP_HOST       $host;
";

/// An empty folder with the files that nginx expects in it.
pub fn prefix() -> TempDir {
    let prefix = tempfile::Builder::new().prefix("pagecache-e2e-").tempdir().unwrap();
    fs::create_dir(prefix.path().join("temp")).unwrap();
    fs::write(prefix.path().join("uwsgi_params"), UWSGI_PARAMS).unwrap();
    prefix
}

/// Prints the last lines of a part's log.
pub fn print_tail(log: &Path) {
    const LINES: usize = 40;
    let text = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    if let Some(shown) = lines.get(lines.len().saturating_sub(LINES)..).filter(|l| !l.is_empty()) {
        println!("--- the end of {}\n{}", log.display(), shown.join("\n"));
    }
}

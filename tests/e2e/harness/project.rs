//! Owns a Django project as `django-admin startproject` writes it, with the settings of the documentation,
//! under uWSGI.

use std::fs;
use std::path::Path;
use std::process::Command;

use pagecache_testkit::parts;
use pagecache_testkit::process::Process;

pub struct Project {
    address: String,
    _process: Process,
}

impl Project {
    /// `settings` is the documentation's block; tests/e2e/app/readme_settings.py reads it.
    pub fn start(prefix: &Path, settings: &str) -> Project {
        let folder = prefix.join("project");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("readme.py"), settings).unwrap();
        let socket = prefix.join("project.sock").display().to_string();
        python(&folder, &["-m", "django", "startproject", "given", "."], false);
        let prepare = "import django; django.setup(); import readme_site; readme_site.prepare()";
        python(&folder, &["-c", prepare], true);
        let mut command = Command::new(parts::venv("uwsgi"));
        command.args(["--uwsgi-socket", &socket, "--module=given.wsgi", "--master"]);
        command.args(["--die-on-term", "--need-app", "--enable-threads", "--disable-logging"]);
        in_project(&mut command, &folder);
        let log = prefix.join("uwsgi.log");
        let mut process = Process::start("uwsgi", &command, &log).killed_at_the_end();
        process.wait_until("listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
        Project { address: format!("unix:{socket}"), _process: process }
    }

    /// The address as an nginx configuration names it.
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// Runs Python until it ends, in the new project once it exists.
#[track_caller]
fn python(folder: &Path, arguments: &[&str], is_there: bool) {
    let mut command = Command::new(parts::venv("python"));
    command.args(arguments).current_dir(folder);
    if is_there {
        in_project(&mut command, folder);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
}

fn in_project(command: &mut Command, folder: &Path) {
    let folders =
        [folder.to_owned(), parts::root().join("django"), parts::root().join("tests/e2e/app")];
    command.env("PYTHONPATH", std::env::join_paths(folders).unwrap());
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("DJANGO_SETTINGS_MODULE", "readme_settings");
    command.env("README_SETTINGS", folder.join("readme.py"));
    command.current_dir(folder);
}

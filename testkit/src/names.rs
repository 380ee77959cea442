//! Owns names that one nginx alone knows: `/etc/hosts` is a file of the test's, for it and for nobody else.

use std::path::Path;
use std::process::Command;

/// Mounts the file over `/etc/hosts`, and becomes the program that follows.
const MOUNT: &str = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";

/// A command that becomes `program`, with the same process id.
pub fn command(hosts: &Path, program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", MOUNT]).arg(hosts).arg(program);
    command
}

/// Whether whoever runs the tests may do that, which takes root. If not, it says so.
pub fn may_be_given() -> bool {
    let output = command(Path::new("/etc/hosts"), Path::new("true")).output().unwrap();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        eprintln!("not tested, no hosts file of its own for nginx: {said}");
    }
    output.status.success()
}

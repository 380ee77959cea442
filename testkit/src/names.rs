//! Owns host names that only one nginx knows: `/etc/hosts` is a file of the test for this nginx, and unchanged for
//! all other processes.

use std::path::Path;
use std::process::Command;

/// Mounts the file over `/etc/hosts`, and executes the following program.
const MOUNT: &str = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";

/// A command that becomes `program`, with the same process id.
pub fn command(hosts: &Path, program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", MOUNT]).arg(hosts).arg(program);
    command
}

/// Whether the tests may mount a file, for which they need to run as root. If not, prints that.
pub fn can_be_mounted() -> bool {
    let output = command(Path::new("/etc/hosts"), Path::new("true")).output().unwrap();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        eprintln!("not tested, no hosts file of its own for nginx: {said}");
    }
    output.status.success()
}

//! Owns the execution of programs in other languages: the interpreter, the path of the client libraries, and the
//! check that a program succeeds.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{kernel, parts, wait};

/// The interpreter and the packages that a program may use.
#[derive(Clone, Copy, Debug)]
pub enum Language {
    /// Python with Django and pymemcache, in the tests' own environment.
    Django,
    /// Python with Debian's packages.
    Python,
    Perl,
    Php,
    Ruby,
    /// Node with the packages that `tests/clients/package.json` names.
    Node,
}

impl Language {
    /// Runs a program with this input until it ends, and fails the test if the program fails.
    #[track_caller]
    pub fn run(self, program: &Path, arguments: &[String], input: &[u8]) {
        // Files instead of pipes, so that neither side waits for the other.
        let mut given = tempfile::tempfile().unwrap();
        given.write_all(input).unwrap();
        given.rewind().unwrap();
        let said = tempfile::NamedTempFile::new().unwrap();
        let mut command = kernel::dying_with_the_tests(&self.interpreter());
        command.arg(program).args(arguments);
        command.stdin(given).stdout(output(said.path())).stderr(output(said.path()));
        let name = format!("{} {arguments:?}", program.display());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let ended = wait::until_some(&name, wait::LIMIT, || child.try_wait().unwrap());
        let said = fs::read_to_string(said.path()).unwrap();
        assert!(ended.success(), "{name}: {ended}\n{said}");
    }

    fn interpreter(self) -> Command {
        match self {
            Language::Django => Command::new(parts::venv("python")),
            // The first Python in PATH may be another one, which does not see Debian's packages.
            Language::Python => Command::new("/usr/bin/python3"),
            Language::Perl => Command::new("/usr/bin/perl"),
            Language::Php => Command::new("/usr/bin/php"),
            Language::Ruby => Command::new("/usr/bin/ruby"),
            Language::Node => {
                let mut node = Command::new(parts::installed("node"));
                node.env("NODE_PATH", parts::node_modules());
                node
            }
        }
    }
}

fn output(file: &Path) -> Stdio {
    File::options().append(true).open(file).unwrap().into()
}

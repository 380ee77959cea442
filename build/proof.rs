//! The proof that Rust and nginx's C compiler have each field of nginx's structures in the same place:
//! constants of C, whose bytes are compared with Rust's. Nothing is run, so it holds in a cross build.
//!
//! For each structure there is one constant:
//!
//! ```c
//! const struct {
//!     unsigned char  begin[16];
//!     size_t         plain[1 + P][2];  /* 0 and the structure's size; each plain field's offset and size */
//!     ngx_buf_t      bits[B];          /* zero but for one bit field, all of whose bits are set */
//!     unsigned char  end[16];
//! } pagecache_layout_ngx_buf_t = { ... };
//! ```
//!
//! `src/sys/layout.rs` reads it twice: while it is compiled, from a file into which the bytes between
//! the two marks are copied, and when nginx loads the module, from the module itself.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::bindings::{Fields, HEADER};
use crate::flags::{Flags, variable};

/// With these, the object has the data itself and can be linked into a module. None of them moves a field.
const LAST_FLAGS: [&str; 6] =
    ["-w", "-g0", "-fPIC", "-fvisibility=hidden", "-fno-lto", "-fno-sanitize=all"];

const ARCHIVE: &str = "pagecache_layout";

/// Compiles the constants, has them linked, and leaves the bytes of each in a file named as the structure,
/// and `layouts.rs`, which names structures and fields for `layouts!`.
pub fn compile(flags: &Flags, structures: &BTreeMap<String, Fields>) -> Result<()> {
    let out = variable("OUT_DIR")?;
    let out = Path::new(&out);
    let (source, object) = (out.join("layout.c"), out.join("layout.o"));
    let mut constants = format!("#include <stddef.h>\n{HEADER}\n");
    let mut invocation = String::from("layouts! {\n");
    for (nth, (structure, fields)) in structures.iter().enumerate() {
        constants += &constant(nth, structure, fields);
        invocation += &row(structure, fields);
    }
    fs::write(&source, constants)?;
    fs::write(out.join("layouts.rs"), invocation + "}\n")?;

    let mut compiler = flags.compiler.iter();
    let program = compiler.next().ok_or("nginx's CC is empty")?;
    let mut command = Command::new(program);
    command.args(compiler).args(&flags.flags).args(LAST_FLAGS).args(flags.include_arguments());
    command.arg("-c").arg("-o").arg(&object).arg(&source);
    if !command.status().map_err(|error| format!("{program}, nginx's CC: {error}"))?.success() {
        return Err(format!("it fails: {command:?}").into());
    }
    let bytes = fs::read(&object)?;
    for (nth, structure) in structures.keys().enumerate() {
        fs::write(out.join(structure), between(&bytes, &marks(nth))?)?;
    }
    cc::Build::new().object(&object).compile(ARCHIVE);
    Ok(())
}

/// From the first mark, with it, up to the second.
fn between<'object>(object: &'object [u8], [begin, end]: &[String; 2]) -> Result<&'object [u8]> {
    let place = |mark: &str| {
        let mut places =
            object.windows(mark.len()).enumerate().filter(|(_, part)| *part == mark.as_bytes());
        match (places.next(), places.next()) {
            (Some((place, _)), None) => Ok(place),
            _ => Err(format!("the object has not one \"{mark}\"")),
        }
    };
    Ok(object.get(place(begin)?..place(end)?).ok_or("the marks are in another order")?)
}

/// Found nowhere else in an object: no symbol has a colon.
fn marks(nth: usize) -> [String; 2] {
    [format!("pagecache:{nth:05}:"), format!("pagecache:{nth:05};")]
}

/// The constant of one structure.
fn constant(nth: usize, structure: &str, Fields { plain, bits }: &Fields) -> String {
    let [begin, end] = marks(nth)
        .map(|mark| mark.chars().map(|character| format!("'{character}', ")).collect::<String>());
    let (plains, bits_count) = (1 + plain.len(), bits.len());
    let mut text = format!(
        "const struct {{
            unsigned char begin[16];
            size_t plain[{plains}][2];
            {structure} bits[{bits_count}];
            unsigned char end[16];
        }} {ARCHIVE}_{structure} = {{
            {{ {begin} }}, {{ {{ 0, sizeof({structure}) }},\n"
    );
    for field in plain.iter().map(|field| in_c(field)) {
        let _ = writeln!(
            text,
            "{{ offsetof({structure}, {field}), sizeof((({structure} *) 0)->{field}) }},"
        );
    }
    text += "}, {\n";
    for field in bits.iter().map(|field| in_c(field)) {
        let _ = writeln!(text, "{{ .{field} = ~0 }},");
    }
    text + &format!("}}, {{ {end} }} }};\n")
}

/// What bindgen calls `type_` is a word of Rust's.
fn in_c(field: &str) -> &str {
    field.strip_suffix('_').unwrap_or(field)
}

/// The structure's row of `layouts!`.
fn row(structure: &str, Fields { plain, bits }: &Fields) -> String {
    let plain: String = plain.iter().map(|field| format!("{field} ")).collect();
    let bits: String = bits.iter().map(|field| format!("{field} set_{field} ")).collect();
    format!("{structure} {ARCHIVE}_{structure} {{ {plain}}} {{ {bits}}}\n")
}

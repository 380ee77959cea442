//! Proves that Rust and nginx's C compiler place each field of nginx's structures at the same offset: C constants,
//! whose bytes are compared with Rust's. No code is run, so the proof works in a cross build, too.
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
//! `src/sys/layout.rs` reads each constant twice: at compile time, from a file with the bytes between the two
//! marks, and when nginx loads the module, from the module itself.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::bindings::{Fields, HEADER};
use crate::flags::{Flags, variable};

/// With these flags the object contains the data itself and can be linked into a module. None of them moves a
/// field.
const LAST_FLAGS: [&str; 6] =
    ["-w", "-g0", "-fPIC", "-fvisibility=hidden", "-fno-lto", "-fno-sanitize=all"];

const ARCHIVE: &str = "pagecache_layout";

/// Compiles the constants, links them into the module, and writes the bytes of each to a file with the structure's
/// name. Also writes `layouts.rs`, which names structures and fields for `layouts!`.
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

/// The bytes from the first mark, inclusive, to the second.
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

/// The two marks of a constant. They occur nowhere else in an object: no symbol contains a colon.
fn marks(nth: usize) -> [String; 2] {
    [format!("pagecache:{nth:05}:"), format!("pagecache:{nth:05};")]
}

/// The C constant of one structure.
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

/// bindgen appends an underscore to names that are Rust keywords, such as `type_`.
fn in_c(field: &str) -> &str {
    field.strip_suffix('_').unwrap_or(field)
}

/// The row of a structure for `layouts!`.
fn row(structure: &str, Fields { plain, bits }: &Fields) -> String {
    let plain: String = plain.iter().map(|field| format!("{field} ")).collect();
    let bits: String = bits.iter().map(|field| format!("{field} set_{field} ")).collect();
    format!("{structure} {ARCHIVE}_{structure} {{ {plain}}} {{ {bits}}}\n")
}

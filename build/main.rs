//! Generates the parts that the nginx module is built on: nginx's features as cfgs, the bindings of nginx's
//! structures with bit fields, and the C constants that check them. Does nothing without the `module` feature.

#[cfg(feature = "module")]
mod bindings;
#[cfg(feature = "module")]
mod flags;
#[cfg(feature = "module")]
mod proof;

/// Since this version headers with one name form a linked list (nginx's CHANGES with 1.23.0).
const LINKED_HEADERS: u32 = 1_023_000;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    // the features that nginx-sys found in nginx's headers
    println!("cargo::rerun-if-env-changed=DEP_NGINX_FEATURES");
    let known = std::env::var("DEP_NGINX_FEATURES_CHECK").unwrap_or_else(|_| "any()".to_owned());
    println!("cargo::rustc-check-cfg=cfg(ngx_feature, values({known}))");
    for feature in std::env::var("DEP_NGINX_FEATURES").unwrap_or_default().split_terminator(',') {
        println!("cargo::rustc-cfg=ngx_feature=\"{feature}\"");
    }
    println!("cargo::rerun-if-env-changed=DEP_NGINX_VERSION_NUMBER");
    println!("cargo::rustc-check-cfg=cfg(ngx_linked_headers)");
    let version = std::env::var("DEP_NGINX_VERSION_NUMBER").ok().and_then(|it| it.parse().ok());
    if version.is_some_and(|version: u32| version >= LINKED_HEADERS) {
        println!("cargo::rustc-cfg=ngx_linked_headers");
    }
    println!("cargo::rerun-if-changed=build");
    // like in `config`; src/sys/loaded.rs gives the reason
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system != "macos") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
    #[cfg(feature = "module")]
    {
        let flags = flags::Flags::of_nginx()?;
        let fields = bindings::generate(&flags)?;
        proof::compile(&flags, &fields)?;
    }
    Ok(())
}

//! Hands nginx's features, as nginx-sys found them, to the shell as cfgs. Does nothing without the
//! `module` feature.

fn main() {
    println!("cargo::rerun-if-env-changed=DEP_NGINX_FEATURES");
    let known = std::env::var("DEP_NGINX_FEATURES_CHECK").unwrap_or_else(|_| "any()".to_owned());
    println!("cargo::rustc-check-cfg=cfg(ngx_feature, values({known}))");
    for feature in std::env::var("DEP_NGINX_FEATURES").unwrap_or_default().split_terminator(',') {
        println!("cargo::rustc-cfg=ngx_feature=\"{feature}\"");
    }
}

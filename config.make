# Adds the rule that builds the module's archive to nginx's Makefile; config beside this file has set its path
# and the cargo to use. Only cargo knows the archive's dependencies, so it is always run: in the module's own
# folder, where it finds the crates that a package contains, and with make's job slots.

cat <<END >>$NGX_MAKEFILE

$pagecache_archive: pagecache-always
	+NGINX_SOURCE_DIR="\`pwd\`" && NGINX_BUILD_DIR="\`cd $NGX_OBJS && pwd\`" && \\
	export NGINX_SOURCE_DIR NGINX_BUILD_DIR && cd "$ngx_addon_dir" && \\
	"$pagecache_cargo" rustc --locked --release -p nginx-pagecache --lib --crate-type staticlib \\
		--features module --target-dir "\$\$NGINX_BUILD_DIR/pagecache"

pagecache-always:

END

case " $DYNAMIC_MODULES " in
    *" ngx_http_pagecache_module "*)
        # without C sources, no other rule makes nginx depend on the archive
        echo "$NGX_OBJS/ngx_http_pagecache_module$ngx_modext: $pagecache_archive" >>$NGX_MAKEFILE
        ;;
esac

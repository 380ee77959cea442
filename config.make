# Adds the rule that builds the module's archive to nginx's Makefile; config beside this file has said
# where it goes and with which cargo. Only cargo knows what the archive depends on, and so is always asked:
# in the module's own folder, where it finds the crates that a package brings, and with make's job slots.

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
        # without C sources, nothing else would have nginx's rule wait for the archive
        echo "$NGX_OBJS/ngx_http_pagecache_module$ngx_modext: $pagecache_archive" >>$NGX_MAKEFILE
        ;;
esac

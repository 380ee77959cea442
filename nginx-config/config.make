# As config beside this file: the same as config.make at the top.
ngx_addon_dir=$ngx_addon_dir/..
. "$ngx_addon_dir/config.make"

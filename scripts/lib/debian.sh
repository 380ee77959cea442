# A bare Debian of any release in a folder, and commands in it, which end with the script. The file is sourced
# after setup.sh, never run, and needs root and $PACKAGES_DEBIAN:
#
#     step "making a bare Debian" bare_debian trixie "$WORK/trixie.tar"
#     step "unpacking it" unpack "$WORK/trixie.tar" "$WORK/root"
#     run_in_debian "$WORK/root" COMMAND...

PACKAGES_DEBIAN="debootstrap util-linux"

# end_with_script: ends background jobs with the script, however the script ends.
end_with_script() {
    trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# contained COMMAND...: the subshell that calls it becomes COMMAND, with processes and mounts of its own. They
# end with it, and it ends with the script, even if that is killed.
contained() { exec setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child "$@"; }

# bare_debian RELEASE TAR: writes it to a file. For step, which runs it in a subshell.
bare_debian() {
    local script=""
    # A release that is newer than debootstrap is made like unstable.
    [ -e "/usr/share/debootstrap/scripts/$1" ] || script=sid
    # $0 and similar variables are those of the inner shell
    # shellcheck disable=SC2016
    contained sh -ec '
        rm -rf "$2.root"
        debootstrap --variant=minbase "$1" "$2.root" "" $3
        tar -C "$2.root" --one-file-system -cf "$2.new" .
        mv "$2.new" "$2"
        rm -rf "$2.root"
    ' sh "$1" "$2" "$script"
}

# unpack TAR FOLDER: unpacks a bare Debian, which reaches Debian's packages with this machine's names and
# certificate authorities. A FOLDER that exists is complete.
unpack() {
    rm -rf "$2" "$2.new"
    mkdir -p "$2.new"
    tar -C "$2.new" -xf "$1"
    cp -L /etc/resolv.conf /etc/hosts "$2.new/etc/"
    mkdir -p "$2.new/usr/local/share/ca-certificates"
    cp -r /usr/local/share/ca-certificates/. "$2.new/usr/local/share/ca-certificates"
    # The files need not survive a loss of power.
    echo force-unsafe-io >"$2.new/etc/dpkg/dpkg.cfg.d/unsafe-io"
    mv "$2.new" "$2"
}

# run_in_debian FOLDER COMMAND...: runs the command there. It has this machine's network, and of its
# environment only the variables for reaching the outside.
run_in_debian() {
    # In the background, so that the script's traps run immediately.
    (trap - INT QUIT; become_in_debian "$@") </dev/null &
    wait $!
}

become_in_debian() {
    local root=$1 outside
    shift
    mapfile -t outside < <(outside_world)
    # shellcheck disable=SC2016
    contained sh -ec '
        # share FILE PLACE: mounts the settings of this machine for package registries; they are not copied
        share() {
            [ -f "$1" ] || return 0
            mkdir -p "${2%/*}"
            touch "$2"
            mount --bind -o ro "$1" "$2"
        }
        # if the root is a mount, programs can have mounts of their own: unshare --mount
        mount --bind "$0" "$0"
        mount -t proc proc "$0/proc"
        mount -t tmpfs -o mode=1777 tmpfs "$0/dev/shm"
        # terminals, for script
        mount -t devpts -o newinstance,ptmxmode=0666 devpts "$0/dev/pts"
        share "${CARGO_HOME:-$HOME/.cargo}/config.toml" "$0/root/.cargo/config.toml"
        share /etc/pip.conf "$0/etc/pip.conf"
        share "${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf" "$0/root/.config/pip/pip.conf"
        share "$HOME/.npmrc" "$0/root/.npmrc"
        exec chroot "$0" "$@"
    ' "$root" env -i "${outside[@]}" PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "$@"
}

# outside_world: the variables that name proxies and package registries, one a line; and the certificate
# authorities that Debian trusts there, including this machine's own, for programs that bring their own list.
outside_world() {
    local store=/etc/ssl/certs/ca-certificates.crt
    printf '%s\n' "PIP_CERT=$store" "NODE_EXTRA_CA_CERTS=$store"
    env | grep -i -E '^((https?|ftp|all|no)_proxy|(pip|npm_config|cargo_(net|registr|source))[a-z0-9_]*_[a-z0-9_]*)=' |
        grep -v -i -E '^[a-z0-9_]*(cert|cafile)=' || true
}

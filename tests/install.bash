# How the scripts of the tests install what they need. A script that sources this file has a function `fail`.
# What cannot be installed is a failure. Nothing is installed twice.

# Installs packages of the distribution, by apt-get, and as root only.
install_packages() {
    echo "installing $*" >&2
    [ "$(id -u)" = 0 ] || fail "$* not installed, and installing it needs root"
    command -v apt-get >/dev/null || fail "$* not installed, and there is no apt-get to install it with"
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends)
    "${install[@]}" "$@" >&2 || { apt-get update -qq >&2 && "${install[@]}" "$@" >&2; } || fail "$* could not be installed"
}

# Makes a venv with packages of PyPI, given as pip takes them. It is made beside its final path and moved there, so that an
# interrupted installation is never used; its programs are therefore started as `python -m`.
#
#   install_venv FOLDER PACKAGE==VERSION | -r FILE
install_venv() {
    local folder=$1
    shift
    [ ! -d "$folder" ] || return 0
    python3 -c 'import ensurepip' 2>/dev/null || install_packages python3 python3-venv
    echo "installing $* into $folder" >&2
    rm -rf "$folder.draft"
    python3 -m venv "$folder.draft" >&2
    "$folder.draft/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >&2 ||
        fail "$* could not be installed from PyPI"
    mv "$folder.draft" "$folder"
}

# Waits until no other test installs something below a folder.
lock() {
    exec 9>"$1/lock"
    flock 9
}

unlock() { exec 9>&-; }

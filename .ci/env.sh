# Where our own tools are, for every script here. Read with `.`, not run.
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/sightline
export PATH=$CACHE/bin:$HOME/.cargo/bin:$PATH

#!/bin/sh
# Installs the programs that the tests talk to. Each is named by its command and its Debian package.
set -eu
cd "$(dirname "$0")/.."

# The WebSocket phone that the tests call with.
phone() {
	stamp=bench/neighbours/node_modules/.package-lock.json
	if [ ! -e $stamp ] || [ bench/neighbours/package-lock.json -nt $stamp ]; then
		echo "installing SIP.js"
		(cd bench/neighbours && npm ci --no-fund --no-audit --loglevel=error && touch node_modules/.package-lock.json)
	fi
}

missing=
for need in sipp:sip-tester sipsak:sipsak kamailio:kamailio baresip:baresip-core node:nodejs npm:npm; do
	PATH=$PATH:/usr/sbin command -v "${need%%:*}" >/dev/null || missing="$missing ${need#*:}"
done
set -- /usr/lib/*/kamailio/modules/tls.so
[ -e "$1" ] || missing="$missing kamailio-tls-modules"
if [ -z "$missing" ]; then
	phone
	exit 0
fi

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "The tests need these programs:$missing. Run as root, then try again:" >&2
	echo "    apt-get update && apt-get install -y --no-install-recommends$missing" >&2
	exit 1
fi

# Debian starts a service that it installs, and kamailio's would take port 5060.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f $policy' EXIT
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
fi
export DEBIAN_FRONTEND=noninteractive
echo "installing$missing"
apt-get update -qq
# shellcheck disable=SC2086 # one word for each package
apt-get install -y -qq --no-install-recommends $missing </dev/null >/dev/null
phone

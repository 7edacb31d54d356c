#!/bin/sh
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
#
# Stands in for ssh: ssh.sh OPTIONS HOST COMMAND runs the command in the faked host of that name in the directory FLEET.
# With -tt lines end as a terminal ends them.
host='' command='' terminal=''
for word; do
  host=$command command=$word
  [ "$word" != -tt ] || terminal=yes
done
[ -d "${FLEET:?}/$host/root" ] || exit 255
enter=$(dirname "$(readlink -f "$0")")/enter.sh
[ "$terminal" ] || exec "$enter" "$FLEET/$host" "$command"
"$enter" "$FLEET/$host" "$command" | sed 's/$/\r/'

#!/bin/sh
# The first process of a guest: loads what its devices need, listens to the power button, says that it is ready, and leaves whoever
# is at the console at a shell. When that ends, so does the machine.
export PATH=/bin HOME=/ TERM=vt100 PS1='guest# '

mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t tmpfs none /tmp

while read -r module; do
    insmod "/modules/$module.ko" || echo "init: the module $module cannot be loaded"
done < /modules/order

acpid -l /dev/null
hostname guest
echo 'guest ready'
setsid cttyhack sh
sync
poweroff -f

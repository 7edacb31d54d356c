# -------------------------------------------------------------------------------------------------- boot loader
# As Debian's installer does it: the arguments in /etc/kernel/cmdline, systemd-boot on the EFI partition, and the kernel
# put there by kernel-install, as its package will from now on. lab/efi_disk.py makes the EFI partition of /boot/efi.
efi=$(printf %.8s "$uuid" | tr a-f A-F)
mkdir -p /boot/efi /etc/kernel
printf 'UUID=%s-%s /boot/efi vfat umask=0077 0 0\n' "${efi%????}" "${efi#????}" >> /etc/fstab
printf 'root=UUID=%s ro console=ttyS0 quiet\n' "$uuid" > /etc/kernel/cmdline
# bootctl wants a file system of its own there, which is not FAT yet
mount --bind /boot/efi /boot/efi
export SYSTEMD_RELAX_ESP_CHECKS=1
bootctl install --esp-path=/boot/efi --no-variables --entry-token=os-id --make-entry-directory=yes
printf 'timeout 1\n' > /boot/efi/loader/loader.conf
for image in /boot/vmlinuz-*; do
    release=${image#/boot/vmlinuz-}
    kernel-install --esp-path=/boot/efi add "$release" "$image" "/boot/initrd.img-$release"
done
umount /boot/efi

#!/bin/sh
# Mount points: a new volume takes owner and mode of the folder it is mounted on.
set -eu
services="enrolment certificate_authority medium_lookup otp_dispatch hsm_signer crl_verifier posting gateway monitor"
for owner in $services administrator operator auditor igfmas observer kafka postgres smtp; do
  install -d -o gpki -g gpki -m 0700 "/state/secrets/$owner"
done
for folder in hsm/users hsm/ca hsm/log postgres kafka kafka_2 kafka_3 daily-files mail; do
  install -d -o gpki -g gpki -m 0700 "/state/$folder"
done
chown gpki:gpki /state /state/hsm /state/secrets
chmod 0700 /state/hsm
install -d -o gpki -g gpki -m 0755 /state/conf /state/pki

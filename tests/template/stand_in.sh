#!/bin/sh
# Stands in, by any name, for a program that infra/deploy calls: notes what it was asked, and answers as the real one would.
echo "${0##*/} $*" >>"$HOME/calls"
case "${0##*/} $*" in
  *describe-images*) echo sha256:0123 24700000 ;;
  *describe-repositories*)
    test -e "$HOME/repository" && echo 123456789012.dkr.ecr.us-east-1.amazonaws.com/auditferry-worker
    ;;
  *create-repository*) touch "$HOME/repository" ;;
  *get-caller-identity*) echo 123456789012 ;;
  *get-login-password*) echo password ;;
  *get-role*) exit 254 ;;
  "docker login"*) cat >/dev/null ;;
  "cargo auditable lambda build"*)
    mkdir -p target/lambda/bootstrap
    head -c 12345678 /dev/zero >target/lambda/bootstrap/bootstrap
    ;;
  "git describe"*) echo 0123456789abcdef ;;
esac

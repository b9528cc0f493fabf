# What actions/checkout does with the inputs this project uses: https://github.com/actions/checkout#usage
set -euo pipefail

header="AUTHORIZATION: basic $(printf 'x-access-token:%s' "$TOKEN" | base64 | tr -d '\n')"
echo "::add-mask::${header#AUTHORIZATION: basic }"

git init --quiet --initial-branch=main .
git remote add origin "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY"
git config --local "http.$GITHUB_SERVER_URL/.extraheader" "$header"

options=(--no-recurse-submodules --quiet)
if [[ -n "$FILTER" ]]; then options+=("--filter=$FILTER"); fi
ref="${REF:-$GITHUB_SHA}"

if [[ "$FETCH_DEPTH" == 0 ]]; then
  git fetch "${options[@]}" --prune origin '+refs/heads/*:refs/remotes/origin/*' '+refs/tags/*:refs/tags/*'
else
  options+=(--no-tags "--depth=$FETCH_DEPTH")
fi

if git rev-parse --quiet --verify "refs/remotes/origin/$ref" >/dev/null; then
  git checkout --quiet --force -B "$ref" "refs/remotes/origin/$ref"
else
  git fetch "${options[@]}" origin "$ref"
  git checkout --quiet --force --detach FETCH_HEAD
fi

if [[ "$PERSIST_CREDENTIALS" != true ]]; then
  git config --local --unset-all "http.$GITHUB_SERVER_URL/.extraheader"
fi

{
  echo "ref=$ref"
  echo "commit=$(git rev-parse HEAD)"
} >>"$GITHUB_OUTPUT"

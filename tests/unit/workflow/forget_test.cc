#include "workflow/forget.h"

#include <doctest/doctest.h>

#include "bare_repository.h"

using namespace kubedr;
using namespace kubedr::workflow;
using kubedr::repo::test::back_up;
using kubedr::repo::test::day;
using kubedr::repo::test::names;
using kubedr::repo::test::text_of;
using kubedr::workflow::test::BareRepository;
using storage::FileKind;

namespace {

// Two snapshots, one of them tagged.
struct Forgetful : BareRepository {
  Forgetful() {
    back_up(*this, store, {1}, day(1), {"old"});
    back_up(*this, store, {2}, day(2));
  }

  ForgetReport run(const ForgetRequest& request) {
    return forget(
        services(), request, [](const ForgetPlan&) { return true; }, call);
  }

  std::size_t left() const { return names(store, FileKind::snapshot, call).size(); }
};

}  // namespace

TEST_CASE("forget: everything a filter finds goes only when that is said, and without rules") {
  Forgetful repository;
  ForgetRequest request;
  request.filter.tags = {{"old"}};
  CHECK(text_of([&] { repository.run(request); }) ==
        "usage: forget: no policy was specified, no snapshots will be removed");
  request.unsafe_allow_remove_all = true;
  CHECK(repository.run(request).removed.size() == 1);
  CHECK(repository.left() == 1);
}

TEST_CASE("forget: without a filter nothing lets every snapshot go") {
  Forgetful repository;
  ForgetRequest request;
  request.unsafe_allow_remove_all = true;
  CHECK(text_of([&] { repository.run(request); }) ==
        "usage: forget: --unsafe-allow-remove-all is not allowed unless a snapshot filter option "
        "is specified");
  CHECK(repository.left() == 2);
}

TEST_CASE("forget: rules never empty a group, whatever is said") {
  Forgetful repository;
  ForgetRequest request;
  request.rules.tags = {{"tpyo"}};
  request.unsafe_allow_remove_all = true;
  const auto refused = [&] {
    return text_of([&] { repository.run(request); })
        .starts_with("usage: forget: refusing to delete last snapshot of policy");
  };
  CHECK(refused());
  request.filter.tags = {{"old"}};
  CHECK(refused());
  CHECK(repository.left() == 2);
}

TEST_CASE("forget: ids leave nothing to filter") {
  Forgetful repository;
  ForgetRequest request;
  request.snapshots = {"latest"};
  request.filter.hosts = {"node-1"};
  CHECK(text_of([&] { repository.run(request); }).starts_with("usage: forget: explicit snapshot"));
  CHECK(repository.left() == 2);
}

TEST_CASE("forget: a rehearsal with prune tells what a prune would free, and changes nothing") {
  Forgetful repository;
  ForgetRequest request;
  request.rules.last = 1;
  request.prune = true;
  request.prune_options.max_unused.percent = 0;
  request.dry_run = true;
  const ForgetReport rehearsed = repository.run(request);
  REQUIRE(rehearsed.pruned);
  CHECK(rehearsed.pruned->bytes_freed > 16 * 1024);
  CHECK(repository.left() == 2);
  request.dry_run = false;
  CHECK(repository.run(request).pruned->bytes_freed == rehearsed.pruned->bytes_freed);
  CHECK(repository.left() == 1);
}

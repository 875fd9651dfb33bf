#include "workflow/stats.h"

#include <doctest/doctest.h>

#include "bare_repository.h"

using namespace kubedr;
using namespace kubedr::workflow;
using namespace kubedr::repo::test;
using kubedr::workflow::test::BareRepository;

TEST_CASE("stats: snapshots without a summary are measured by their trees") {
  constexpr std::uint64_t kPage = 16 * 1024;
  BareRepository repository;
  back_up(repository, repository.store, pages(0, 4), day(1));
  back_up(repository, repository.store, pages(2, 8), day(3));
  const StatsReport report = stats(repository.services(), {}, {}, repository.call);
  CHECK(report.restore_bytes == 10 * kPage);
  REQUIRE(report.policies.size() == 1);
  CHECK(report.policies[0].restore_bytes == 6 * kPage);
  // Four pages more in two days; sealed, and with a tree.
  CHECK(report.policies[0].growth_per_day >= 2 * kPage);
  CHECK(report.policies[0].growth_per_day < 3 * kPage);
}

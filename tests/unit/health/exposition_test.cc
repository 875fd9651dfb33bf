#include "health/exposition.h"

#include <doctest/doctest.h>

#include <limits>

using namespace kubedr::health;

namespace {

const Family kCounter{"kubedr_backups_total", MetricType::counter, "Backups.", {{"", {}, 3}}};

const Family kOldCounter{"kubedr_num_backups", MetricType::counter, "Backups.", {{"", {}, 3}}};

}  // namespace

TEST_CASE("exposition: help, type and samples, without families that have none") {
  const Family gauge{"kubedr_size_bytes",
                     MetricType::gauge,
                     "A size.",
                     {{"", {{"policy", "a"}, {"location", "b"}}, 1.5}, {"", {}, 12345678901}}};
  CHECK(expose({gauge, {"kubedr_none", MetricType::gauge, "None.", {}}}, Exposition::text) ==
        "# HELP kubedr_size_bytes A size.\n"
        "# TYPE kubedr_size_bytes gauge\n"
        "kubedr_size_bytes{policy=\"a\",location=\"b\"} 1.5\n"
        "kubedr_size_bytes 12345678901\n");
}

TEST_CASE("exposition: what would break a line is escaped") {
  const Family gauge{"g", MetricType::gauge, "a\\b\n\"c\"", {{"", {{"l", "x\"y\\z\n"}}, 1}}};
  CHECK(expose({gauge}, Exposition::text) ==
        "# HELP g a\\\\b\\n\"c\"\n"
        "# TYPE g gauge\n"
        "g{l=\"x\\\"y\\\\z\\n\"} 1\n");
  CHECK(expose({gauge}, Exposition::open_metrics) ==
        "# HELP g a\\\\b\\n\\\"c\\\"\n"
        "# TYPE g gauge\n"
        "g{l=\"x\\\"y\\\\z\\n\"} 1\n"
        "# EOF\n");
}

TEST_CASE("exposition: numbers that are none, and large ones") {
  const double infinite = std::numeric_limits<double>::infinity();
  const Family gauge{
      "g",
      MetricType::gauge,
      "h",
      {{"", {}, infinite}, {"", {}, -infinite}, {"", {}, 9007199254740992}, {"", {}, 1e300}}};
  CHECK(expose({gauge}, Exposition::text) ==
        "# HELP g h\n# TYPE g gauge\ng +Inf\ng -Inf\ng 9007199254740992\ng 1e+300\n");
}

TEST_CASE(
    "exposition: OpenMetrics names a counter without _total, and knows none that has no such end") {
  CHECK(expose({kCounter, kOldCounter}, Exposition::text) ==
        "# HELP kubedr_backups_total Backups.\n"
        "# TYPE kubedr_backups_total counter\n"
        "kubedr_backups_total 3\n"
        "# HELP kubedr_num_backups Backups.\n"
        "# TYPE kubedr_num_backups counter\n"
        "kubedr_num_backups 3\n");
  CHECK(expose({kCounter, kOldCounter}, Exposition::open_metrics) ==
        "# HELP kubedr_backups Backups.\n"
        "# TYPE kubedr_backups counter\n"
        "kubedr_backups_total 3\n"
        "# HELP kubedr_num_backups Backups.\n"
        "# TYPE kubedr_num_backups unknown\n"
        "kubedr_num_backups 3\n"
        "# EOF\n");
}

TEST_CASE("exposition: a bucket's bound is a float in OpenMetrics") {
  const Family histogram{"h",
                         MetricType::histogram,
                         "x",
                         {{"_bucket", {{"le", "15"}}, 1}, {"_bucket", {{"le", "+Inf"}}, 1}}};
  CHECK(expose({histogram}, Exposition::text) ==
        "# HELP h x\n# TYPE h histogram\nh_bucket{le=\"15\"} 1\nh_bucket{le=\"+Inf\"} 1\n");
  CHECK(
      expose({histogram}, Exposition::open_metrics) ==
      "# HELP h x\n# TYPE h histogram\nh_bucket{le=\"15.0\"} 1\nh_bucket{le=\"+Inf\"} 1\n# EOF\n");
}

TEST_CASE("exposition: OpenMetrics is for who asks for it at least as much as for text") {
  CHECK(negotiate("") == Exposition::text);
  CHECK(negotiate("*/*") == Exposition::text);
  CHECK(negotiate("text/plain;version=0.0.4") == Exposition::text);
  // Prometheus 2.42's.
  CHECK(negotiate("application/openmetrics-text;version=1.0.0,"
                  "application/openmetrics-text;version=0.0.1;q=0.75,"
                  "text/plain;version=0.0.4;q=0.5,*/*;q=0.1") == Exposition::open_metrics);
  CHECK(negotiate("text/plain, application/openmetrics-text;q=0.5") == Exposition::text);
  CHECK(negotiate("application/openmetrics-text; q=0") == Exposition::text);
}

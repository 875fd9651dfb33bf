#ifndef KUBEDR_HEALTH_EXPOSITION_H
#define KUBEDR_HEALTH_EXPOSITION_H

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kubedr::health {

// Name and value; in this order in the text.
using Labels = std::vector<std::pair<std::string, std::string>>;

enum class MetricType { gauge, counter, histogram };

struct Sample {
  std::string suffix;  // of a histogram's: _bucket, _sum, _count
  Labels labels;
  double value = 0;
};

// A metric with its help. A counter's name ends in _total, but for those of the operator's.
struct Family {
  std::string name;
  MetricType type = MetricType::gauge;
  std::string help;
  std::vector<Sample> samples;
};

// How metrics are written down.
enum class Exposition { text, open_metrics };

// The whole answer to a scrape; families without samples are left out.
//
// source   Prometheus' text format 0.0.4; OpenMetrics 1.0.0, where a counter without _total is of
//          type unknown, since the format knows none
std::string expose(const std::vector<Family>& families, Exposition exposition);

const char* content_type(Exposition exposition);

// What an Accept header asks for: OpenMetrics only where it is wanted at least as much.
Exposition negotiate(std::string_view accept);

}  // namespace kubedr::health

#endif  // KUBEDR_HEALTH_EXPOSITION_H

#include "health/exposition.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/text.h"

namespace kubedr::health {
namespace {

constexpr std::string_view kTotal = "_total";

// A backslash and a newline would end the text or change it; a quote ends a label's value.
std::string escaped(std::string_view text, bool quotes) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\n') {
      escaped += "\\n";
    } else {
      if (c == '\\' || (c == '"' && quotes)) escaped += '\\';
      escaped += c;
    }
  }
  return escaped;
}

// Whole numbers without an exponent, as far as a double holds them exactly.
std::string number(double value) {
  constexpr double kExact = 9007199254740992;  // 2^53
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  if (std::isnan(value)) return "NaN";
  if (std::trunc(value) == value && std::fabs(value) <= kExact) {
    return std::to_string(static_cast<long long>(value));
  }
  return fmt::format("{}", value);
}

std::string labels_text(const Labels& labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    text += fmt::format("{}{}=\"{}\"", text.empty() ? "" : ",", name, escaped(value, true));
  }
  return text.empty() ? "" : "{" + text + "}";
}

// OpenMetrics wants a bucket's bound as a float: "15.0".
Labels with_float_bound(Labels labels) {
  for (auto& [name, value] : labels) {
    if (name == "le" && value.find_first_not_of("0123456789") == std::string::npos) value += ".0";
  }
  return labels;
}

const char* type_name(MetricType type) {
  switch (type) {
  case MetricType::gauge:
    return "gauge";
  case MetricType::counter:
    return "counter";
  case MetricType::histogram:
    return "histogram";
  }
  return "untyped";
}

std::string text_of(const Family& family) {
  std::string text = fmt::format("# HELP {} {}\n# TYPE {} {}\n", family.name,
                                 escaped(family.help, false), family.name, type_name(family.type));
  for (const Sample& sample : family.samples) {
    text += fmt::format("{}{}{} {}\n", family.name, sample.suffix, labels_text(sample.labels),
                        number(sample.value));
  }
  return text;
}

std::string open_metrics_of(const Family& family) {
  std::string name = family.name;
  const bool counter = family.type == MetricType::counter;
  const bool total = counter && name.ends_with(kTotal);
  if (total) name.resize(name.size() - kTotal.size());
  std::string text = fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, escaped(family.help, true),
                                 name, counter && !total ? "unknown" : type_name(family.type));
  for (const Sample& sample : family.samples) {
    text += fmt::format("{}{}{} {}\n", family.name, sample.suffix,
                        labels_text(with_float_bound(sample.labels)), number(sample.value));
  }
  return text;
}

struct Wanted {
  std::string type;
  double quality = 1;
};

// "application/openmetrics-text;version=1.0.0;q=0.5"
Wanted parse_wanted(std::string_view entry) {
  Wanted wanted;
  const std::vector<std::string> parts = split(entry, ';');
  wanted.type = to_lower(trim(parts.front()));
  for (const std::string& part : parts) {
    const std::string parameter = to_lower(trim(part));
    if (!parameter.starts_with("q=")) continue;
    std::from_chars(parameter.data() + 2, parameter.data() + parameter.size(), wanted.quality);
  }
  return wanted;
}

}  // namespace

std::string expose(const std::vector<Family>& families, Exposition exposition) {
  const bool open_metrics = exposition == Exposition::open_metrics;
  std::string text;
  for (const Family& family : families) {
    if (family.samples.empty()) continue;
    text += open_metrics ? open_metrics_of(family) : text_of(family);
  }
  return open_metrics ? text + "# EOF\n" : text;
}

const char* content_type(Exposition exposition) {
  return exposition == Exposition::open_metrics
             ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
             : "text/plain; version=0.0.4; charset=utf-8";
}

Exposition negotiate(std::string_view accept) {
  double open_metrics = 0;
  double text = 0;
  for (const std::string& entry : split(accept, ',')) {
    const Wanted wanted = parse_wanted(entry);
    if (wanted.type == "application/openmetrics-text") {
      open_metrics = std::max(open_metrics, wanted.quality);
    } else if (wanted.type == "text/plain" || wanted.type == "text/*") {
      text = std::max(text, wanted.quality);
    }
  }
  return open_metrics > 0 && open_metrics >= text ? Exposition::open_metrics : Exposition::text;
}

}  // namespace kubedr::health

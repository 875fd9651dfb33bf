#include "cmd/print.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/text.h"
#include "base/time.h"
#include "base/yaml.h"

namespace kubedr::cmd {
namespace {

constexpr std::size_t kGap = 3;
constexpr std::size_t kSmallestColumn = 6;

// Code points, without colour sequences.
std::size_t width(const std::string& text) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\033') {
      i = std::min(text.find('m', i), text.size());
      continue;
    }
    if ((static_cast<unsigned char>(text[i]) & 0xC0U) != 0x80U) ++count;
  }
  return count;
}

// What helps with every error of a kind, where the error itself knows nothing better.
std::string hint_of(const Error& error) {
  if (!error.hint().empty()) return error.hint();
  const ErrorKind kind = error.kind();
  if (kind == ErrorKind::unavailable) {
    return "check the address, and that it can be reached from this machine; -v=2 shows each try";
  }
  if (kind == ErrorKind::not_found) return "check the name or path that was given";
  if (kind == ErrorKind::denied) {
    return "check the keys and certificates that are used there, and what they may do";
  }
  if (kind == ErrorKind::wrong_password) {
    return "check restic_repo_password in the location's Secret, or RESTIC_PASSWORD";
  }
  return "";
}

std::string cell_text(const std::string& text) {
  const std::size_t end = text.find_first_of("\n\r\f");
  return end == std::string::npos ? text : text.substr(0, end) + "...";
}

}  // namespace

Table::Table(std::vector<std::string> headers) : headers_(std::move(headers)) {}

void Table::add(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = cell_text(cell);
  cells.resize(headers_.size());
  rows_.push_back(std::move(cells));
}

std::vector<std::size_t> Table::widths(bool with_headers) const {
  std::vector<std::size_t> widths;
  for (std::size_t column = 0; column < headers_.size(); ++column) {
    std::size_t widest = with_headers ? width(headers_[column]) : 0;
    for (const auto& row : rows_) widest = std::max(widest, width(row[column]));
    widths.push_back(std::max(kSmallestColumn, widest + kGap));
  }
  return widths;
}

void Table::fit(std::size_t width_limit, std::size_t columns) {
  while (true) {
    const std::vector<std::size_t> now = widths(true);
    const std::size_t all = std::accumulate(now.begin(), now.end(), std::size_t{0}) - kGap;
    const auto end = now.begin() + static_cast<std::ptrdiff_t>(columns);
    const auto widest = std::max_element(now.begin(), end);
    const auto column = static_cast<std::size_t>(widest - now.begin());
    const std::size_t least = width(headers_[column]) + kGap;
    if (all <= width_limit || *widest <= least) return;
    const std::size_t wanted = std::max(least, *widest - (all - width_limit)) - kGap;
    for (auto& row : rows_) row[column] = shorten(row[column], wanted);
  }
}

std::string Table::text(bool with_headers) const {
  if (rows_.empty()) return "";
  const std::vector<std::size_t> widths = this->widths(with_headers);
  std::string text;
  const auto add_row = [&](const std::vector<std::string>& row) {
    std::string line;
    for (std::size_t column = 0; column < row.size(); ++column) {
      line += row[column];
      if (column + 1 < row.size()) line.append(widths[column] - width(row[column]), ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  if (with_headers) add_row(headers_);
  for (const auto& row : rows_) add_row(row);
  return text;
}

std::string document(const Json& value, const std::string& output) {
  if (output == "yaml") return to_yaml(value);
  return value.dump(4, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string objects_text(const std::vector<Json>& objects, const std::string& output) {
  if (output == "json") {
    return document({{"apiVersion", "v1"}, {"kind", "List"}, {"items", objects}}, "json");
  }
  std::string text;
  for (const Json& object : objects) text += (text.empty() ? "" : "---\n") + to_yaml(object);
  return text;
}

std::string age(const std::optional<WallTime>& time, WallTime now) {
  if (!time) return "<none>";
  return human_duration(std::chrono::floor<std::chrono::seconds>(now - *time));
}

const char* applied_word(cluster::Applied applied) {
  switch (applied) {
  case cluster::Applied::created:
    return "created";
  case cluster::Applied::configured:
    return "configured";
  case cluster::Applied::unchanged:
    return "unchanged";
  }
  return "unchanged";
}

Json to_json(const std::vector<workflow::FailedStep>& steps) {
  Json list = Json::array();
  for (const workflow::FailedStep& step : steps) {
    list.push_back({{"step", step.step}, {"error", step.error}, {"remedy", step.remedy}});
  }
  return list;
}

std::string describe(const std::vector<workflow::FailedStep>& steps) {
  std::string text;
  for (const workflow::FailedStep& step : steps) {
    text += fmt::format("warning: {} failed: {}\n", step.step, printable(trim(step.error)));
    if (!step.remedy.empty()) text += fmt::format("  {}\n", printable(step.remedy));
  }
  return text;
}

std::string number_of(std::uint64_t count, const std::string& noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string describe_not_written(const std::vector<Json>& objects) {
  std::string text;
  for (const Json& object : objects) {
    text += fmt::format("  not written (no API server): {} {}\n",
                        find_string(object, {"kind"}).value_or("object"),
                        find_string(object, {"metadata", "name"}).value_or(""));
  }
  return text;
}

namespace {

Json to_json(const repo::PruneFigures::Part& part) {
  return {{"count", part.count}, {"bytes", part.bytes}};
}

}  // namespace

Json to_json(const repo::PruneFigures& figures) {
  return {{"usedBlobs", to_json(figures.used_blobs)},
          {"unusedBlobs", to_json(figures.unused_blobs)},
          {"duplicateBlobs", to_json(figures.duplicate_blobs)},
          {"packsKept", to_json(figures.packs_kept)},
          {"packsRepacked", to_json(figures.packs_repacked)},
          {"packsRemoved", to_json(figures.packs_removed)},
          {"packsUnreferenced", to_json(figures.packs_unreferenced)},
          {"indexFilesRewritten", figures.index_files},
          {"bytesFreed", figures.bytes_freed},
          {"bytesUnusedAfter", figures.unused_after}};
}

std::string describe(const repo::PruneFigures& figures) {
  std::string text;
  const auto line = [&](const char* what, const repo::PruneFigures::Part& part, const char* unit) {
    text += fmt::format("{:<14} {:>10} {} / {}\n", what, part.count, unit, human_size(part.bytes));
  };
  line("used:", figures.used_blobs, "blobs");
  line("unused:", figures.unused_blobs, "blobs");
  line("keep:", figures.packs_kept, "packs");
  line("repack:", figures.packs_repacked, "packs");
  line("remove:", figures.packs_removed, "packs");
  line("unreferenced:", figures.packs_unreferenced, "packs");
  text += fmt::format("to be freed:   {}, then {} are unused\n", human_size(figures.bytes_freed),
                      human_size(figures.unused_after));
  return text;
}

std::string describe(const Error& error) {
  std::string text = fmt::format("error: {}\n", printable(trim(error.what())));
  const std::string hint = hint_of(error);
  if (!hint.empty()) text += fmt::format("  {}\n", printable(hint));
  return text;
}

std::string error_json(const Error& error) {
  const Json object = {{"error",
                        {{"kind", to_string(error.kind())},
                         {"message", error.what()},
                         {"hint", hint_of(error)},
                         {"exitCode", exit_code(error.kind())}}}};
  return object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace kubedr::cmd

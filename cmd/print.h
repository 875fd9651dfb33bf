#ifndef KUBEDR_CMD_PRINT_H
#define KUBEDR_CMD_PRINT_H

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "workflow/maintain.h"
#include "workflow/steps.h"

// What results look like. Everything here returns text; main writes it.
namespace kubedr::cmd {

// kubectl's tables: columns padded to their widest cell and three blanks, the last one not padded.
// A cell's text ends at its first newline; colours do not count.
class Table {
 public:
  explicit Table(std::vector<std::string> headers);

  void add(std::vector<std::string> cells);

  // Shortens cells of the first `columns` columns, the widest first, until no line is longer than
  // `width`, as far as that goes.
  void fit(std::size_t width, std::size_t columns);

  bool empty() const { return rows_.empty(); }

  std::string text(bool with_headers) const;

 private:
  // Of each column: its widest cell, and the gap.
  std::vector<std::size_t> widths(bool with_headers) const;

  std::vector<std::string> headers_;
  std::vector<std::vector<std::string>> rows_;
};

// json indented by 4 as kubectl does, or yaml.
std::string document(const Json& value, const std::string& output);

// Objects for `kubectl apply -f -`: a List in json, else one YAML document each.
std::string objects_text(const std::vector<Json>& objects, const std::string& output);

// "1 file", "2 files".
std::string number_of(std::uint64_t count, const std::string& noun);

// "5m23s"; "<none>" without a time.
std::string age(const std::optional<WallTime>& time, WallTime now);

// kubectl's word for what an apply did.
const char* applied_word(cluster::Applied applied);

Json to_json(const std::vector<workflow::FailedStep>& steps);

// Failed steps for people, one line each with the remedy; empty without any.
std::string describe(const std::vector<workflow::FailedStep>& steps);

// What an API server would have been told, by name, one line each; empty where one was told. The
// objects themselves are in a result's document; a failure has none, whatever the output.
std::string describe_not_written(const std::vector<Json>& objects);

Json to_json(const repo::PruneFigures& figures);

// A prune's plan for people.
std::string describe(const repo::PruneFigures& figures);

// The error for people: `error: ...` and the hint on a line of its own.
std::string describe(const Error& error);

// One line of JSON: the last of stderr when the output is json.
std::string error_json(const Error& error);

}  // namespace kubedr::cmd

#endif  // KUBEDR_CMD_PRINT_H

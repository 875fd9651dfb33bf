#include "crd/totals.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/time.h"

namespace kubedr::crd {
namespace {

// More than can be at work at the same time.
constexpr std::size_t kRecent = 16;

// Enough to tell that a backup is smaller than they used to be.
constexpr std::size_t kRecentSizes = 8;

// True if it was not there yet.
bool remember(std::vector<std::string>& recent, const std::string& id) {
  if (std::find(recent.begin(), recent.end(), id) != recent.end()) return false;
  recent.push_back(id);
  if (recent.size() > kRecent) recent.erase(recent.begin());
  return true;
}

void observe(Totals& totals, std::chrono::nanoseconds duration) {
  const double seconds = std::chrono::duration<double>(duration).count();
  const auto bound = std::find_if(kDurationBounds.begin(), kDurationBounds.end(),
                                  [&](int limit) { return seconds <= limit; });
  ++totals.duration_counts[static_cast<std::size_t>(bound - kDurationBounds.begin())];
  totals.duration_sum += seconds;
}

void remember_size(std::vector<std::uint64_t>& sizes, std::uint64_t size) {
  if (size == 0) return;  // not told
  sizes.push_back(size);
  if (sizes.size() > kRecentSizes) sizes.erase(sizes.begin());
}

void put_time(Json& object, const char* key, const std::optional<WallTime>& time) {
  if (time) object[key] = format_rfc3339_nano(*time);
}

std::uint64_t number(const Json& object, const char* key) {
  const Json& value = object.at(key);
  if (!value.is_number_unsigned()) throw Error(ErrorKind::corrupt, key);
  return value.get<std::uint64_t>();
}

std::optional<WallTime> time(const Json& object, const char* key) {
  if (!object.contains(key)) return std::nullopt;
  const std::optional<WallTime> parsed = parse_time(object.at(key).get<std::string>());
  if (!parsed) throw Error(ErrorKind::corrupt, key);
  return parsed;
}

Totals parse(const Json& object) {
  Totals totals;
  totals.succeeded = number(object, "succeeded");
  totals.failed = number(object, "failed");
  totals.processed_bytes = number(object, "processedBytes");
  totals.added_bytes = number(object, "addedBytes");
  totals.stored_bytes = number(object, "storedBytes");
  totals.duration_sum = object.at("durationSeconds").at("sum").get<double>();
  const Json& counts = object.at("durationSeconds").at("counts");
  if (counts.size() != totals.duration_counts.size()) throw Error(ErrorKind::corrupt, "counts");
  std::transform(counts.begin(), counts.end(), totals.duration_counts.begin(),
                 [](const Json& count) { return count.get<std::uint64_t>(); });
  totals.counted_until = time(object, "countedUntil");
  totals.last_success = time(object, "lastSuccess");
  totals.failing_since = time(object, "failingSince");
  totals.failures_in_row = number(object, "failuresInRow");
  totals.last_stored_bytes = number(object, "lastStoredBytes");
  totals.last_files = number(object, "lastFiles");
  totals.recent = object.at("recent").get<std::vector<std::string>>();
  totals.recent_sizes = object.at("recentSizes").get<std::vector<std::uint64_t>>();
  return totals;
}

}  // namespace

void count_success(Totals& totals, const CountedBackup& backup) {
  if (!remember(totals.recent, backup.id)) return;
  ++totals.succeeded;
  totals.processed_bytes += backup.processed_bytes;
  totals.added_bytes += backup.added_bytes;
  totals.stored_bytes += backup.stored_bytes;
  if (backup.measured) observe(totals, backup.duration);
  if (!totals.counted_until || *totals.counted_until < backup.time) {
    totals.counted_until = backup.time;
  }
  if (totals.last_success && *totals.last_success > backup.end) return;
  totals.last_success = backup.end;
  totals.last_stored_bytes = backup.stored_bytes;
  totals.last_files = backup.files;
  remember_size(totals.recent_sizes, backup.processed_bytes);
  // A good backup that is only counted now may have been made before the failures.
  if (totals.failing_since && *totals.failing_since > backup.end) return;
  totals.failing_since = std::nullopt;
  totals.failures_in_row = 0;
}

void count_failure(Totals& totals, const std::string& id, WallTime time) {
  if (!remember(totals.recent, id)) return;
  ++totals.failed;
  ++totals.failures_in_row;
  if (!totals.failing_since) totals.failing_since = time;
}

std::string to_annotation(const Totals& totals) {
  Json object = {
      {"succeeded", totals.succeeded},
      {"failed", totals.failed},
      {"processedBytes", totals.processed_bytes},
      {"addedBytes", totals.added_bytes},
      {"storedBytes", totals.stored_bytes},
      {"durationSeconds", {{"sum", totals.duration_sum}, {"counts", totals.duration_counts}}},
      {"failuresInRow", totals.failures_in_row},
      {"lastStoredBytes", totals.last_stored_bytes},
      {"lastFiles", totals.last_files},
      {"recent", totals.recent},
      {"recentSizes", totals.recent_sizes}};
  put_time(object, "countedUntil", totals.counted_until);
  put_time(object, "lastSuccess", totals.last_success);
  put_time(object, "failingSince", totals.failing_since);
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Somebody may have edited it: a text with anything missing or of another type counts as lost.
std::optional<Totals> parse_totals(std::string_view text) {
  try {
    return parse(parse_json(text, kTotalsAnnotation));
  } catch (const Error&) {
    return std::nullopt;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

}  // namespace kubedr::crd

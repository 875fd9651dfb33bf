#ifndef KUBEDR_REPO_KEEP_H
#define KUBEDR_REPO_KEEP_H

#include <optional>
#include <string>
#include <vector>

#include "repo/repository.h"

namespace kubedr::repo {

// A span of calendar time as restic writes it: "1y5m7d2h".
//
// errors   usage: that is none
struct CalendarSpan {
  int years = 0;
  int months = 0;
  int days = 0;
  int hours = 0;

  bool empty() const { return years == 0 && months == 0 && days == 0 && hours == 0; }
};

CalendarSpan parse_calendar_span(const std::string& text);

// restic's rules: a snapshot stays if any of them keeps it. A count of -1 is "unlimited".
struct KeepRules {
  int last = 0;
  int hourly = 0;
  int daily = 0;
  int weekly = 0;
  int monthly = 0;
  int yearly = 0;
  CalendarSpan within;
  CalendarSpan within_hourly;
  CalendarSpan within_daily;
  CalendarSpan within_weekly;
  CalendarSpan within_monthly;
  CalendarSpan within_yearly;
  std::vector<std::vector<std::string>> tags;  // one of the lists must be had in full

  bool empty() const;
};

// Why a snapshot stays, in restic's words: "last snapshot", "daily snapshot", ...
struct Kept {
  SavedSnapshot saved;
  std::vector<std::string> reasons;
};

struct KeepResult {
  std::vector<Kept> keep;             // newest first
  std::vector<SavedSnapshot> remove;  // newest first
};

// Applies the rules to one group. Pure. As restic does, a day or hour is that of the clock which
// the snapshot was taken by (ours is UTC), and spans are counted back from the newest snapshot that
// is not of the future.
//
// source   restic internal/data/snapshot_policy.go (ApplyPolicy)
KeepResult apply_keep_rules(std::vector<SavedSnapshot> group, const KeepRules& rules, WallTime now);

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_KEEP_H

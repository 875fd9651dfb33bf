#ifndef KUBEDR_HEALTH_SCHEDULE_H
#define KUBEDR_HEALTH_SCHEDULE_H

#include <bitset>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace kubedr::health {

// A standard cron line: five fields, or a descriptor such as @hourly; times are UTC.
//
// errors   usage: `schedule "x": ...`
// source   crontab(5) as Kubernetes' CronJob reads it (github.com/robfig/cron, ParseStandard):
//          day of month and day of week are joined by "or" when both are given
class Schedule {
 public:
  static Schedule parse(std::string_view line);

  // The first due time after `time`; nullopt when there is none within five years (31 February).
  std::optional<WallTime> next_after(WallTime time) const;

 private:
  bool matches_day(std::chrono::sys_days day) const;

  std::bitset<60> minutes_;
  std::bitset<24> hours_;
  std::bitset<32> days_of_month_;
  std::bitset<13> months_;
  std::bitset<7> days_of_week_;
  bool any_day_of_month_ = false;
  bool any_day_of_week_ = false;
  std::chrono::seconds every_{0};  // "@every 90m"; 0: the fields count
};

}  // namespace kubedr::health

#endif  // KUBEDR_HEALTH_SCHEDULE_H

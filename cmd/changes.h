#ifndef KUBEDR_CMD_CHANGES_H
#define KUBEDR_CMD_CHANGES_H

#include <string>

#include "cmd/context.h"
#include "workflow/changes.h"

// What the verbs that create and delete resources ask and say.
namespace kubedr::cmd {

// "secret/minio-credentials created"; returns the exit code.
int print_created(const workflow::CreateReport& report, const Context& context);

// Shows what goes and asks; `kept` is what a worried person wants to hear of.
workflow::AgreeToDelete agree_to_delete(const Context& context, const std::string& kept);

// "backuplocation/minio deleted"; returns the exit code.
int print_deleted(const workflow::DeleteReport& report, const Context& context);

}  // namespace kubedr::cmd

#endif  // KUBEDR_CMD_CHANGES_H

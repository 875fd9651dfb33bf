#ifndef KUBEDR_CMD_MANUAL_H
#define KUBEDR_CMD_MANUAL_H

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace kubedr::cmd {

// A manual page in mdoc.
struct ManualPage {
  std::string file;  // "kubectl-kubedr-backup.1"
  std::string text;
};

// The overview and a page for each verb, made from the tree.
//
// source   mdoc(7); `mandoc -T lint` has nothing to say about them
std::vector<ManualPage> manual_pages(const CLI::App& root);

}  // namespace kubedr::cmd

#endif  // KUBEDR_CMD_MANUAL_H

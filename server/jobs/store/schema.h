// The tables of the server's SQLite file, and how older ones become today's.
#pragma once

#include <SQLiteCpp/Database.h>

#include <span>

namespace denoise {

// "dnoi": tells our files from others'.
inline constexpr int kApplicationId = 0x646e6f69;

// Entry i brings the tables from version i to version i + 1. Entries are never changed, only added.
std::span<const char* const> Migrations();

}  // namespace denoise

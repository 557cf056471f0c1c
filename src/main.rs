fn main() -> std::process::ExitCode {
    plyfs::cli::main()
}

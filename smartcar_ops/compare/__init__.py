"""Do V2 and V3 return the same data? (notebook 10)"""
